"""One report from its file to its result: read → phases → states → layers → result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from taxbreak_nsys.arrays.allocator import keep_freed_memory
from taxbreak_nsys.arrays.background import BackgroundTask, Prefetcher
from taxbreak_nsys.arrays.intervals import Flags, percentile
from taxbreak_nsys.attribution.learned_map import read_map
from taxbreak_nsys.diagnostics import result_warnings
from taxbreak_nsys.errors import TaxbreakError, UnorderedError
from taxbreak_nsys.measure.blocking import BlockingLimits
from taxbreak_nsys.measure.measure import LayerEvidence, measure
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import TSys, estimate_t_sys, find_launches, launch_latency
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Choice, Instances, find_in_marks, find_instances
from taxbreak_nsys.phases.engine_marks import load_engines
from taxbreak_nsys.pipeline import limits
from taxbreak_nsys.pipeline.summary import summarise
from taxbreak_nsys.pipeline.sums import Sums
from taxbreak_nsys.pipeline.windows import Windows
from taxbreak_nsys.read.call_chains import read_chains
from taxbreak_nsys.read.call_tree import CallTree
from taxbreak_nsys.read.conversion import Domains
from taxbreak_nsys.read.database import BATCH_ROWS, Database, open_report
from taxbreak_nsys.read.metadata import read_facts, stated_period
from taxbreak_nsys.read.module_table import Pattern, read_patterns
from taxbreak_nsys.read.op_shapes import read_op_shapes
from taxbreak_nsys.read.prescan import CanMark, launching_threads, read_marks
from taxbreak_nsys.read.report_inspection import Opening
from taxbreak_nsys.read.report_reader import Reader, api_threads, read_trace
from taxbreak_nsys.read.sample_reader import SampleReader, has_samples, read_samples
from taxbreak_nsys.read.stack_frames import symbol_texts
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.totals import Totals
from taxbreak_nsys.totals.warning_facts import Piece

WINDOW_ROWS = 400_000
"""A report of more rows is read in windows of time of about so many: few enough for the columns of one to stay in the
processor's cache, as far as that goes, and enough that what each window costs by itself does not show."""


def analyze_report(
    report: str | Path,
    options: Options | None = None,
    *,
    columns: bool = False,
    window_rows: int = WINDOW_ROWS,
    opening: Opening | None = None,
) -> Result:
    """Analyse one report, a `.sqlite` export or a `.nsys-rep` (exported through the nsys on PATH).

    Returns the result; raises TaxbreakError, whose message is one line, where the report or the options are
    no use. The report is opened read-only and nothing is written beside it. `columns` keeps the columns of a large
    report with the result (a small one's are always there), which takes memory in proportion to the report;
    `window_rows` is for tests; `opening` is the same report's, where it was begun before.
    """
    options = options or Options()
    path = Path(report)
    opening = opening or Opening(path)
    with Database(opening.inspected()) as database:
        facts = read_facts(database, path)
        result = None if columns else _in_windows(database, facts, path, options, window_rows)
        if result is None:
            database.cleaning.begin_again()
            result = _whole(database, facts, path, options)
        return replace(result, report=replace(result.report, sha256=opening.sha256()))


def _whole(database: Database, facts: ReportFacts, path: Path, options: Options) -> Result:
    """Analyse a report as one piece."""
    threads = api_threads(database)
    trace = read_trace(database, threads)
    patterns = _patterns(database, options)
    samples = read_samples(database, threads, patterns, _call_tree(options)) if patterns else None
    chains = read_chains(database, patterns, trace.api.callchain_id) if patterns else None
    launches = find_launches(trace)
    check_launches(len(launches), path)
    limits.check_threads(launches.thread, path)
    found = find_instances(trace, launches, phase_choice(options), lambda: read_op_shapes(database, trace.ops))
    instances = selected(found, options, path)
    evidence = LayerEvidence(samples, chains, options.evidence == "samples", read_map(options.library_map))
    held = measure(trace, launches, instances, evidence)
    sums = Sums.over(instances, options)
    sums.add(Piece.whole(held))
    return _finished(database, facts, sums, options, path, held)


def _in_windows(database: Database, facts: ReportFacts, path: Path, options: Options, rows: int) -> Result | None:
    """Analyse a report in windows of time; None where it is small, or has to be looked at as a whole."""
    if sum(database.layout.rows.values()) <= rows or "CUDA_CALLCHAINS" in database.schema:
        return None
    keep_freed_memory()
    choice, domains = phase_choice(options), Domains(database)
    found: Instances | None = None
    try:
        with (
            database.sibling(counted=False) as other,
            BackgroundTask(lambda: read_marks(other, domains, _may_mark(options, choice))) as marks,
        ):
            callers, threads = launching_threads(database)
            limits.check_threads(np.array(threads), path)
            batch = max(min(BATCH_ROWS, rows // 8), 16)
            decided: BlockingLimits | None = BlockingLimits()
            while decided is not None:
                # the tables are read ahead while the marks are looked for
                with Reader(database, callers, domains, batch) as reader:
                    found = found or (find_in_marks(marks.result(), threads, choice) if threads else None)
                    if found is None:
                        return None
                    instances = selected(found, options, path)
                    sums = _summed(database, reader, instances, threads, options, decided, rows)
                decided = decided.settle()
                if decided is not None:
                    database.cleaning.begin_again()
    except UnorderedError:
        return None
    if options.evidence == "samples" and sums.totals.samples.period_ns is None:
        # no samples to go by: libraries and operators should have kept their marks
        return None
    check_launches(sums.totals.facts.launches, path)
    return _finished(database, facts, sums, options, path, None)


def _summed(
    database: Database,
    reader: Reader,
    instances: Instances,
    threads: Sequence[int],
    options: Options,
    decided: BlockingLimits,
    rows: int,
) -> Sums:
    """Return the sums over a report, from windows of about so many rows; they are measured ahead of the summing."""
    patterns = _patterns(database, options) if has_samples(database) else None
    evidence = LayerEvidence(None, None, options.evidence == "samples", read_map(options.library_map))
    sums = Sums.over(instances, options)
    with ExitStack() as stack:
        read = SampleReader(database, reader.threads, patterns, reader.batch, _call_tree(options)) if patterns else None
        samples = stack.enter_context(read) if read else None
        windows = Windows(reader, samples, instances, threads, evidence, rows)
        for piece in stack.enter_context(closing(Prefetcher(windows.pieces(decided), 1))):
            sums.add(piece)
    return sums


def _patterns(database: Database, options: Options) -> Sequence[Pattern] | None:
    """Return what tells modules apart, where the report has call chains or the user has a table of modules."""
    asked = {"SAMPLING_CALLCHAINS", "CUDA_CALLCHAINS"} & set(database.schema) or options.modules is not None
    return read_patterns(options.modules) if asked else None


def _call_tree(options: Options) -> CallTree | None:
    """Return a tree for the stacks of CPU samples, where one was asked for."""
    return CallTree() if "call_tree" in options.tables else None


def _may_mark(options: Options, choice: Choice) -> CanMark | None:
    """Return what tells the texts that the user's own rules are about, which may be an operator's or a library's."""
    patterns = [rule.pattern for rule in options.rules]
    if not patterns and options.phase_rules is not None:
        marks = [mark for engine in choice.engines or () for mark in engine.marks]
        patterns = [pattern for mark in marks for pattern in (mark.text, mark.tail) if pattern is not None]
    return (lambda text: any(pattern.search(text) for pattern in patterns)) if patterns else None


def check_launches(launches: int, path: Path) -> None:
    """Raise TaxbreakError where a report has no launch."""
    if not launches:
        raise TaxbreakError(
            f"{path}: no CUDA launch with device work; capture with 'nsys profile -t cuda,nvtx,osrt' around the "
            "part that uses the GPU"
        )


def phase_choice(options: Options) -> Choice:
    """Return what of the options is about phases."""
    return Choice(
        options.rules, options.window, options.phases or "best", options.engine, load_engines(options.phase_rules),
        options.by_batch,
    )  # fmt: skip


def selected(instances: Instances, options: Options, path: Path) -> Instances:
    """Keep the instances of the process and thread that were asked for, as many phases as can be summed up."""
    keep = np.ones(len(instances), bool)
    if options.process is not None:
        keep &= ((instances.thread >> 24) & 0xFFFFFF) == options.process
    if options.thread is not None:
        keep &= (instances.thread & 0xFFFFFF) == options.thread
    if not keep.any():
        threads = sorted({f"{pid(t)}/{tid(t)}" for t in instances.thread.tolist()})
        raise TaxbreakError(
            f"{path}: no phase is left by the choice of --process, --thread, --start and --end; the launching "
            f"threads (process/thread) are: {', '.join(threads) or 'none in that time'}"
        )
    keep &= _after(instances, options.skip)
    kept = instances.keep(keep)
    limits.check_entries(kept, path)
    return kept


def _after(instances: Instances, skip: int) -> Flags:
    """Tell which instances are beyond the first `skip` of their phase and thread; a phase of no more stays whole."""
    if skip < 0:
        raise TaxbreakError(f"--skip {skip}: must not be negative")
    keep = np.ones(len(instances), bool)
    pairs = np.stack([instances.label, instances.thread])
    for pair in np.unique(pairs, axis=1).T if skip else ():
        mine = np.flatnonzero((pair == pairs.T).all(axis=1))
        if len(mine) > skip:
            keep[mine[:skip]] = False
    return keep


def _finished(
    database: Database, facts: ReportFacts, sums: Sums, options: Options, path: Path, columns: Measured | None
) -> Result:
    """Return what the sums of a report mean, by its floor of the launch path."""
    totals = sums.totals
    totals.samples.symbols = symbol_texts(database, totals.samples.symbol_ids)
    totals.details.symbols = symbol_texts(database, totals.details.symbol_ids)
    if has_samples(database):
        totals.samples.stated_period = stated_period(database)
    facts = replace(facts, warnings=result_warnings.reading_warnings(database))
    t_sys = _t_sys(totals, options)
    limits.check_t_sys(t_sys, totals.facts.launches, path)
    return summarise(facts, sums, t_sys, options, columns)


def _t_sys(totals: Totals, options: Options) -> TSys:
    """Return the floor of the launch path by the best source at hand (method section 4)."""
    if options.t_sys_ns is not None:
        return TSys(options.t_sys_ns, "given")
    if options.null_report is not None:
        path = options.null_report
        with open_report(path) as database:
            launches = find_launches(read_trace(database, api_threads(database)))
        median = percentile(launch_latency(launches, np.ones(len(launches), bool)), 50)
        if median is None:
            raise TaxbreakError(f"{path}: holds no kernel launch, so it cannot say T_sys (--null-report)")
        return TSys(median, "null_report")
    return estimate_t_sys(totals.latency)
