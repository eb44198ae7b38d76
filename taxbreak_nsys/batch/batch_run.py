"""Runs a batch: analyses new or changed reports and writes each outcome to the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from taxbreak_nsys.batch.job import Job, Settings, options_text
from taxbreak_nsys.batch.report_discovery import ReportList
from taxbreak_nsys.batch.tags import TagRules
from taxbreak_nsys.store.records import Analysed, Failed, Outcome, Unchanged
from taxbreak_nsys.store.store_opening import Store

Runner = Callable[[Iterable[Job], Settings], Iterator[Outcome]]
"""Analyses jobs and yields each outcome when it is ready: `pool.local_outcomes` or `cluster.outcomes`."""


@dataclass
class BatchCounts:
    """Outcomes of a batch so far: reports analysed, reports unchanged, and the failures."""

    analysed: int = 0
    unchanged: int = 0
    failed: list[Failed] = field(default_factory=list)

    @property
    def done(self) -> int:
        """The number of reports with an outcome."""
        return self.analysed + self.unchanged + len(self.failed)


def run_batch(
    store: Store,
    reports: ReportList,
    tags: TagRules,
    settings: Settings,
    runner: Runner,
    each: Callable[[BatchCounts], None],
) -> BatchCounts:
    """Analyse the new or changed reports and write each outcome to `store` when it is ready; return the counts.

    `each` is called with the counts after every report. Outcomes written before an interruption stay in the store.
    """
    from taxbreak_nsys.store.writer import known_content, storable, write_analysed, write_failed, write_tags

    options = options_text(settings.options)
    known = known_content(store, options)
    totals = BatchCounts()
    jobs = [Job(path, tags.of(path), known.get(storable(path), frozenset())) for path in reports.paths]
    for path, message in reports.unreadable:
        totals.failed.append(Failed(path=path, kind="unreadable", message=message))
        write_failed(store, totals.failed[-1])
    outcomes = runner(jobs, settings)
    try:
        for outcome in outcomes:
            match outcome:
                case Analysed():
                    write_analysed(store, outcome, options)
                    totals.analysed += 1
                case Unchanged():
                    write_tags(store, outcome.path, outcome.sha256, outcome.tags)
                    totals.unchanged += 1
                case Failed():
                    write_failed(store, outcome)
                    totals.failed.append(outcome)
            each(totals)
    finally:
        close = getattr(outcomes, "close", None)
        if close:
            close()
    return totals
