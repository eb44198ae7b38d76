"""A batch from its reports to the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from taxbreak_nsys.batch.find import Found
from taxbreak_nsys.batch.job import Analysed, Failed, Job, Outcome, Settings, Unchanged, options_text
from taxbreak_nsys.batch.tags import TagRules
from taxbreak_nsys.store.opening import Store

Runner = Callable[[Iterable[Job], Settings], Iterator[Outcome]]
"""Analyses jobs and yields their outcomes as they come: `pool.local_outcomes` or `cluster.outcomes`."""


@dataclass
class Tally:
    """What became of a batch's reports."""

    analysed: int = 0
    unchanged: int = 0
    failed: list[Failed] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many reports have an outcome."""
        return self.analysed + self.unchanged + len(self.failed)


def run(
    store: Store, found: Found, tags: TagRules, settings: Settings, runner: Runner, each: Callable[[Tally], None]
) -> Tally:
    """Analyse what is new or changed of `found` and write each outcome to `store` when it comes.

    `each` is called after every report. An interruption leaves what is written.
    """
    from taxbreak_nsys.store.writer import clean, known_content, write_analysed, write_failed, write_tags

    options = options_text(settings.options)
    known = known_content(store, options)
    tally = Tally()
    jobs = [Job(path, tags.of(path), known.get(clean(path), frozenset())) for path in found.paths]
    for path, message in found.unreadable:
        tally.failed.append(Failed(path, "unreadable", message))
        write_failed(store, tally.failed[-1])
    outcomes = runner(jobs, settings)
    try:
        for outcome in outcomes:
            match outcome:
                case Analysed():
                    write_analysed(store, outcome, options)
                    tally.analysed += 1
                case Unchanged():
                    write_tags(store, outcome.path, outcome.sha256, outcome.tags)
                    tally.unchanged += 1
                case Failed():
                    write_failed(store, outcome)
                    tally.failed.append(outcome)
            each(tally)
    finally:
        close = getattr(outcomes, "close", None)
        if close:
            close()
    return tally
