"""One report from its file to its result: read → phases → states → layers → result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from taxbreak_nsys.arrays.background import BackgroundTask
from taxbreak_nsys.arrays.intervals import FOREVER, percentile
from taxbreak_nsys.diagnostics import result_warnings
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.current_work import working
from taxbreak_nsys.model.launches import TSys, estimate_t_sys, find_launches, floor_at_measured, launch_latency
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.phases.engine_marks import load_engines
from taxbreak_nsys.pipeline import limits
from taxbreak_nsys.pipeline.collector import C, NoCollector, OnePiece
from taxbreak_nsys.pipeline.interval_listing import IntervalListing
from taxbreak_nsys.pipeline.os_waits import OsWaits, WithOsWaits
from taxbreak_nsys.pipeline.reading import Reading, check_launches
from taxbreak_nsys.pipeline.summary import summarise
from taxbreak_nsys.pipeline.sums import Sums
from taxbreak_nsys.read.database import Database, open_inspected, open_report
from taxbreak_nsys.read.event_wait_reader import read_event_waits
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes
from taxbreak_nsys.read.metadata import read_facts, read_thread_names, stated_period
from taxbreak_nsys.read.other_processes import CpuActivity, read_cpu_activity
from taxbreak_nsys.read.report_inspection import Opening
from taxbreak_nsys.read.report_reader import api_threads, read_trace
from taxbreak_nsys.read.sample_reader import has_samples
from taxbreak_nsys.read.stack_frames import symbol_texts
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.totals import Totals

WINDOW_ROWS = 400_000
"""Rows per window of time, about: few enough that much of a window's columns stays in the processor's cache, enough
that the fixed cost per window is negligible."""


def analyze_report(
    report: str | Path,
    options: Options | None = None,
    *,
    intervals: bool = False,
    window_rows: int = WINDOW_ROWS,
    opening: Opening | None = None,
    hashed: bool = False,
) -> Result:
    """Analyse one report, a `.sqlite` export or a `.nsys-rep` (exported through the nsys on PATH).

    Returns the result; raises TaxbreakError, whose message is one line, where the report or the options cannot be
    used. The report is opened read-only, and no file is written next to it. `intervals` keeps every host interval, in a
    temporary file. `window_rows` is for tests. `opening` is an inspection of the same report that has already started.
    `hashed` asks for the SHA-256 of the report, which takes a second for every 1.5 GB.
    """
    if intervals:
        result, listing = collect_report(
            report, options, IntervalListing, window_rows=window_rows, opening=opening, hashed=hashed
        )
        return replace(result, intervals=listing.table())
    return collect_report(report, options, NoCollector, window_rows=window_rows, opening=opening, hashed=hashed)[0]


def measure_report(
    report: str | Path, options: Options | None = None, *, hashed: bool = False
) -> tuple[Result, Measured]:
    """Analyse one report as `analyze_report` does, in one window; return its result and its columns.

    The columns (single intervals, launches, operations) take memory in proportion to the report.
    """
    result, collected = collect_report(report, options, OnePiece, window_rows=FOREVER, hashed=hashed)
    return result, collected.measured


def collect_report(
    report: str | Path,
    options: Options | None,
    collector: Callable[[Instances], C],
    *,
    window_rows: int = WINDOW_ROWS,
    opening: Opening | None = None,
    hashed: bool = False,
) -> tuple[Result, C]:
    """Analyse one report as `analyze_report` does; return its result and the collector that got its pieces.

    `collector` creates the collector from the phase instances of the whole report.
    """
    options = options or Options()
    path = Path(report)
    opening = opening or Opening(path, hashed=hashed)
    # Needed later: this thread would only wait for the inspection.
    load_engines()
    load_kernel_classes()
    with working(f"reading {path.name}"), open_inspected(opening.inspected()) as database:
        facts = read_facts(database, path)
        reading = Reading(database, path, options, window_rows)
        names = read_thread_names(database)
        with (
            database.sibling(counted=False) as other,
            BackgroundTask(lambda: read_cpu_activity(other, reading.cuda_threads, names)) as activity,
        ):
            sums, lost, both = reading.sums(
                lambda instances: WithOsWaits(collector(instances), OsWaits(instances, activity.result))
            )
            result = _finished(database, facts, sums, lost, options, path, activity.result, both.waits)
    with working(f"hashing {path.name}"):
        fingerprint, sha256 = opening.identity()
        facts = replace(result.report, fingerprint=fingerprint, sha256=sha256)
    return replace(result, report=facts, thread_names=names), both.collected


def _finished(
    database: Database,
    facts: ReportFacts,
    sums: Sums,
    lost: LostRows,
    options: Options,
    path: Path,
    activity: Callable[[], CpuActivity],
    waits: OsWaits,
) -> Result:
    """Return the result of a report from its sums, without the file's identity and the threads' names.

    `activity` waits for the CPU time of the processes.
    """
    totals = sums.totals
    check_launches(totals.facts.launches, path)
    totals.samples.symbols = symbol_texts(database, totals.samples.symbol_ids)
    totals.details.symbols = symbol_texts(database, totals.details.symbol_ids)
    if has_samples(database):
        totals.samples.stated_period = stated_period(database)
    facts = replace(facts, warnings=result_warnings.reading_warnings(database))
    t_sys = _t_sys(totals, options, facts)
    limits.check_t_sys(t_sys, totals.facts.launches, path)
    event_waits = read_event_waits(database, sums.stretches.spans)
    return summarise(facts, sums, lost, t_sys, options, activity().others, waits, event_waits)


def _t_sys(totals: Totals, options: Options, facts: ReportFacts) -> TSys:
    """Return T_sys from --t-sys, else from the null report, else from the report itself (method section 4)."""
    if options.t_sys_ns is not None:
        return TSys(options.t_sys_ns, "given")
    if options.null_report is None:
        return estimate_t_sys(totals.latency)
    path = options.null_report
    with open_report(path) as database:
        null = read_facts(database, path)
        launches = find_launches(read_trace(database, api_threads(database), launches_only=True))
    if null.gpu is not None and facts.gpu is not None and null.gpu != facts.gpu:
        raise TaxbreakError(
            f"{path}: was captured on {null.gpu}, but the report on {facts.gpu}, and T_sys depends on the GPU; "
            "capture an empty kernel on the same machine, or give --t-sys"
        )
    median = percentile(launch_latency(launches, np.ones(len(launches), bool)), 50)
    if median is None:
        raise TaxbreakError(
            f"{path}: has no kernel launch to measure T_sys by; give --null-report a capture of an empty kernel"
        )
    return floor_at_measured(TSys(median, "null_report"), totals.latency)
