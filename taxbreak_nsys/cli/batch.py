"""`taxbreak-nsys batch PATH…`: an archive of reports into a results store."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.batch.batch_run import BatchCounts, Runner
    from taxbreak_nsys.batch.job import Settings
    from taxbreak_nsys.batch.report_discovery import ReportList
    from taxbreak_nsys.batch.tags import TagRules
    from taxbreak_nsys.batch.worker import Nursery

_BRIEF = ("Phase", "TID", "Wall Med (ns)", "HDBI", "Target")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:i?B)?")
_FACTOR = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def batch(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Reports, folders, globs, URLs; - reads a list from standard input. "
                       ".sqlite and .nsys-rep, also as .zst, .gz, .xz.", show_default=False),
    ],
    store: shared_options.StoreUrl = "taxbreak.db",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Reports at a time; one a core without it.", show_default=False)
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="The most time for one report.")
    ] = 1800,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="The most memory for one report, as 4G; without it "
                                 "this machine's divided by --jobs.", show_default=False)
    ] = None,
    unpack_limit: Annotated[
        str, typer.Option("--unpack-limit", metavar="SIZE", help="The most that a compressed report may unpack to.")
    ] = "64G",
    isolate: Annotated[
        bool, typer.Option("--isolate", help="A new process for every report, not for those alone that come after a "
                           "bad one. Slower where reports are small.")
    ] = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag for every report; repeatable.")
    ] = None,
    tag_from: Annotated[
        list[str] | None, typer.Option("--tag-from", metavar="REGEX", help="Tags from the path: the regex's named "
                                       "groups, as (?P<model>[^/]+)/(?P<date>\\d{8}); repeatable.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("-f", "--format", help="Show the reports' phases: table, csv, json or parquet.")
    ] = None,
    output: shared_options.Output = None,
    phase: shared_options.Phases = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Analyse many reports into a results store, in worker processes with limits of time and memory a report.

    Run again it does only what is new or changed, and tries again what failed. The exit code is 1 where a report
    failed; the others are stored.

    Example: taxbreak-nsys batch nightly/ --store team.db --tag-from '(?P<model>[^/]+)/(?P<date>\\d{8})'
    """
    from taxbreak_nsys.batch.report_discovery import find
    from taxbreak_nsys.batch.tags import TagRules
    from taxbreak_nsys.batch.worker import Nursery
    from taxbreak_nsys.output.listing import check_format

    if format is None and output is not None:
        raise TaxbreakError("-o needs -f table, csv, json or parquet")
    if format is not None:
        check_format(format, output, force_overwrite)
    rules = TagRules.parse(tag or (), tag_from or ())
    count = jobs or len(os.sched_getaffinity(0))
    limit = parse_size(memory, "--memory") if memory else None if scheduler else _physical_memory() // count
    unpacked = parse_size(unpack_limit, "--unpack-limit")
    found = find(paths, sys.stdin)
    if not quiet and found.twins:
        print(f"{found.twins} .nsys-rep left out: their .sqlite lies beside them", file=sys.stderr)
    # it imports what an analysis needs while this process imports what the store needs
    with Nursery() if found.paths and not scheduler else nullcontext() as nursery:
        from taxbreak_nsys.batch.job import Settings

        options = None
        if phase or t_sys is not None or null_report or evidence is not None or skip:
            options = shared_options.analysis_options(
                phases=phase, start=None, end=None, process=None, thread=None, t_sys=t_sys,
                null_report=null_report and null_report.absolute(), evidence=evidence, skip=skip,
            )  # fmt: skip
        settings = Settings(options, timeout, limit, unpacked, isolate)
        shown = _Shown(format, output, force_overwrite, quiet)
        failed = _run(store, found, rules, settings, _runner(scheduler, count, nursery), shown)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Shown:
    """What the user wants to see."""

    format: str | None
    output: Path | None
    force: bool
    quiet: bool


def _run(store: str, found: ReportList, rules: TagRules, settings: Settings, runner: Runner, shown: _Shown) -> bool:
    """Run a batch and show what came of it; returns whether a report failed."""
    from taxbreak_nsys.batch.batch_run import run_batch
    from taxbreak_nsys.output.listing import put_rows
    from taxbreak_nsys.output.progress import progress
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import phase_table

    with open_store(store, write=True) as opened:
        total = len(found.paths) + len(found.unreadable)
        totals = None
        try:
            with progress(total, "reports", quiet=shown.quiet) as show:

                def each(now: BatchCounts) -> None:
                    nonlocal totals
                    totals = now
                    show(now.done, len(now.failed))

                totals = run_batch(opened, found, rules, settings, runner, each)
        except KeyboardInterrupt:
            done = totals.done if totals else 0
            print(f"stopped; {done} of {total} reports are done, the same command goes on from there", file=sys.stderr)
            raise
        _say(totals, opened.shown, shown.quiet)
        if shown.format is not None:
            rows = phase_table(opened, found.paths)
            if shown.format == "table":
                rows = _shortened(rows)
            brief = ["Report", *(n for n in rows.column_names if n.startswith("tag ")), *_BRIEF]
            put_rows(rows, shown.format, shown.output, force=shown.force, quiet=shown.quiet, brief=brief)
    return bool(totals.failed)


def _runner(scheduler: str | None, count: int, nursery: Nursery | None) -> Runner:
    if scheduler is not None:
        from taxbreak_nsys.batch.cluster import outcomes

        return lambda jobs, settings: outcomes(jobs, settings, scheduler)
    from taxbreak_nsys.batch.pool import local_outcomes

    return lambda jobs, settings: local_outcomes(jobs, settings, count, nursery) if nursery else iter(())


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
    """Leave out the folders that no report needs to be told from the others: a terminal has no room for them."""
    import pyarrow as pa

    names = rows.column("Report").to_pylist()
    short = told_apart(names)
    return rows.set_column(
        rows.column_names.index("Report"), "Report", pa.array([short[name] for name in names], pa.string())
    )


def told_apart(paths: Iterable[str]) -> dict[str, str]:
    """Return for each path or URL its shortest end, by folders, that no other of them ends in."""
    left = set(paths)
    short: dict[str, str] = {}
    length = 0
    while left:
        length += 1
        ends = {path: "/".join(path.split("/")[-length:]) for path in left}
        often = Counter(ends.values())
        done = {path: end for path, end in ends.items() if often[end] == 1 or end == path}
        short |= done
        left -= done.keys()
    return short


def parse_size(text: str, option: str) -> int:
    """Return bytes from `512M` or `4G` (powers of 1024); raises TaxbreakError naming the option."""
    match = _SIZE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise TaxbreakError(f"{option} {text!r}: not a size; write 512M or 4G")
    return int(float(match[1]) * _FACTOR[match[2].upper()])


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
