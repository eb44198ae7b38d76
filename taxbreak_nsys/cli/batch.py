"""`taxbreak-nsys batch PATH…`: analyse many reports into a results store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, AnalysisChoices, OutputChoices, StoreUrl
from taxbreak_nsys.cli.text_values import parse_size
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import OutputFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.batch.batch_run import BatchCounts, Runner
    from taxbreak_nsys.batch.job import Settings
    from taxbreak_nsys.batch.report_discovery import ReportList
    from taxbreak_nsys.batch.tags import TagRules
    from taxbreak_nsys.batch.worker import ForkServer
    from taxbreak_nsys.options import Options

WORKERS = "Workers"
_BRIEF = ("Phase", "TID", "Wall Med (ns)", "HDBI", "Target")


@dataclass(frozen=True)
class WorkerChoices:
    """The options for worker processes and for the limits per report."""

    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Reports analysed at a time; default: one per core.",
                     rich_help_panel=WORKERS),
    ] = None  # fmt: skip
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler.",
                     rich_help_panel=WORKERS),
    ] = None  # fmt: skip
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="The most time for one report.",
                     rich_help_panel=WORKERS),
    ] = 1800  # fmt: skip
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", rich_help_panel=WORKERS,
                     help="The most memory for one report, as 4G; default: this machine's divided by --jobs."),
    ] = None  # fmt: skip
    unpack_limit: Annotated[
        str,
        typer.Option("--unpack-limit", metavar="SIZE", help="The most that a compressed report may unpack to.",
                     rich_help_panel=WORKERS),
    ] = "64G"  # fmt: skip
    isolate: Annotated[
        bool,
        typer.Option("--isolate", rich_help_panel=WORKERS,
                     help="Start a new process for every report (default: only after a failure). Slower where reports "
                     "are small."),
    ] = False  # fmt: skip

    @property
    def count(self) -> int:
        """The number of reports analysed at the same time on this machine."""
        return self.jobs or len(os.sched_getaffinity(0))

    def memory_bytes(self) -> int | None:
        """Return the memory limit per report, None for no limit; raises TaxbreakError for a malformed size."""
        if self.memory:
            return parse_size(self.memory, "--memory")
        return None if self.scheduler else _physical_memory() // self.count


def batch(
    *,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Reports, folders, globs, URLs; - reads a list from standard input. "
                       ".sqlite and .nsys-rep, also as .zst, .gz, .xz.", show_default=False),
    ],
    store: StoreUrl = "taxbreak.db",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag for every report; repeatable.")
    ] = None,
    tag_from: Annotated[
        list[str] | None,
        typer.Option("--tag-from", metavar="REGEX", help="Tags from the path: the named groups of the regular "
                     "expression, as (?P<model>[^/]+)/(?P<date>\\d{8}); repeatable."),
    ] = None,
    format: Annotated[
        OutputFormat | None,
        typer.Option("-f", "--format", metavar="FORMAT", rich_help_panel=OUTPUT,
                     help=f"Show the phases of the reports as {', '.join(OutputFormat)}; parquet needs -o."),
    ] = None,
    workers: WorkerChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Analyse many reports into a results store, in worker processes with limits of time and memory per report.

    Run again, it analyses only what is new or changed, and tries again what failed. The exit code is 1 where a report
    failed; the others are stored.

    Example: taxbreak-nsys batch nightly/ --store team.db --tag-from '(?P<model>[^/]+)/(?P<date>\\d{8})'
    """
    from taxbreak_nsys.batch.report_discovery import find
    from taxbreak_nsys.batch.tags import TagRules
    from taxbreak_nsys.batch.worker import ForkServer
    from taxbreak_nsys.output.listing import check_format

    if format is None and written.output is not None:
        raise TaxbreakError("-o needs -f table, csv, json, jsonl or parquet")
    if format is not None:
        check_format(format, written.output, written.force_overwrite)
    rules = TagRules.parse(tag or (), tag_from or ())
    memory = workers.memory_bytes()
    unpacked = parse_size(workers.unpack_limit, "--unpack-limit")
    reports = find(paths, sys.stdin)
    if not written.quiet and reports.twins:
        print(f"{reports.twins} .nsys-rep left out: their .sqlite lies beside them", file=sys.stderr)
    # The fork server imports the analysis while this process imports the store.
    with ForkServer() if reports.paths and not workers.scheduler else nullcontext() as fork_server:
        from taxbreak_nsys.batch.job import Settings

        settings = Settings(
            options=_worker_options(analysis), timeout_s=workers.timeout, memory=memory, unpacked=unpacked,
            isolate=workers.isolate,
        )  # fmt: skip
        view = _BatchView(format, written.output, written.force_overwrite, written.quiet)
        failed = _run(store, reports, rules, settings, _runner(workers.scheduler, workers.count, fork_server), view)
    if failed:
        raise typer.Exit(1)


def _worker_options(analysis: AnalysisChoices) -> Options | None:
    """Return the options with absolute paths, for workers in other folders; None for the defaults."""
    if analysis == AnalysisChoices():
        return None
    options = analysis.options()
    paths = {
        name: path.absolute()
        for name in ("null_report", "phase_rules", "modules", "library_map")
        if (path := getattr(options, name)) is not None
    }
    reference = options.reference
    return replace(options, **paths, reference=str(Path(reference).absolute()) if reference else None)


@dataclass(frozen=True)
class _BatchView:
    """Format and destination of the phases; without a `format` they are not shown."""

    format: str | None
    output: Path | None
    force: bool
    quiet: bool


def _run(
    store: str, reports: ReportList, rules: TagRules, settings: Settings, runner: Runner, view: _BatchView
) -> bool:
    """Run a batch and show its results; returns whether a report failed."""
    from taxbreak_nsys.batch.batch_run import run_batch
    from taxbreak_nsys.output.listing import put_rows
    from taxbreak_nsys.output.progress import progress
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import phase_table

    with open_store(store, write=True) as opened:
        total = len(reports.paths) + len(reports.unreadable)
        totals = None
        try:
            with progress(total, "reports", quiet=view.quiet) as show:

                def each(counts: BatchCounts) -> None:
                    nonlocal totals
                    totals = counts
                    show(counts.done, len(counts.failed))

                totals = run_batch(opened, reports, rules, settings, runner, each)
        except KeyboardInterrupt:
            done = totals.done if totals else 0
            print(
                f"stopped; {done} of {total} reports are done; run the same command again to continue", file=sys.stderr
            )
            raise
        _say(totals, opened.shown, view.quiet)
        if view.format is not None:
            rows = phase_table(opened, reports.paths)
            if view.format == "table":
                rows = _shortened(rows)
            brief = ["Report", *(n for n in rows.column_names if n.startswith("tag ")), *_BRIEF]
            put_rows(rows, view.format, view.output, force=view.force, quiet=view.quiet, brief=brief)
    return bool(totals.failed)


def _runner(scheduler: str | None, count: int, fork_server: ForkServer | None) -> Runner:
    if scheduler is not None:
        from taxbreak_nsys.batch.cluster import outcomes

        return lambda jobs, settings: outcomes(jobs, settings, scheduler)
    from taxbreak_nsys.batch.pool import local_outcomes

    return lambda jobs, settings: local_outcomes(jobs, settings, count, fork_server) if fork_server else iter(())


def _say(totals: BatchCounts, store: str, quiet: bool) -> None:
    for failed in totals.failed:
        print(f"taxbreak-nsys: {failed.message}", file=sys.stderr)
    if not quiet:
        print(
            f"{totals.analysed} analysed, {totals.unchanged} unchanged, {len(totals.failed)} failed; "
            f"the store is {store}",
            file=sys.stderr,
        )


def _shortened(rows: pa.Table) -> pa.Table:
    """Return the table with each report's path shortened to its distinct end, to save width."""
    import pyarrow as pa

    names = rows.column("Report").to_pylist()
    short = distinct_ends(names)
    return rows.set_column(
        rows.column_names.index("Report"), "Report", pa.array([short[name] for name in names], pa.string())
    )


def distinct_ends(paths: Iterable[str]) -> dict[str, str]:
    """Return {path: the shortest end, in whole folders, that no other path ends in}; also for URLs."""
    left = set(paths)
    short: dict[str, str] = {}
    length = 0
    while left:
        length += 1
        ends = {path: "/".join(path.split("/")[-length:]) for path in left}
        counts = Counter(ends.values())
        done = {path: end for path, end in ends.items() if counts[end] == 1 or end == path}
        short |= done
        left -= done.keys()
    return short


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
