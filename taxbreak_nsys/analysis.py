"""One report from its file to its result: read → phases → states → layers → result."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from taxbreak_nsys import breakdown, cautions, limits, sample_breakdown
from taxbreak_nsys.columns import Columns, Steps
from taxbreak_nsys.correction import corrected
from taxbreak_nsys.device import active_ns, kernel_sum_ns, with_exposure
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.intervals import Flags, percentile
from taxbreak_nsys.launches import (
    GRAPH_LAUNCH,
    KERNEL_LAUNCH,
    MEMORY_LAUNCH,
    UNMEASURED_GRAPH,
    Launches,
    TSys,
    find_launches,
    launch_latency,
    t_sys_of,
)
from taxbreak_nsys.layers import EVIDENCES, PhaseSums, split
from taxbreak_nsys.library_map import read_map
from taxbreak_nsys.mediation import find_operators, mediate, signs_of
from taxbreak_nsys.phases import Choice, Instances, PhaseRule, find_instances
from taxbreak_nsys.phases.counts import source_of, step_counts
from taxbreak_nsys.phases.engines import load_engines
from taxbreak_nsys.read.facts import read_facts, sha256
from taxbreak_nsys.read.load import read_trace
from taxbreak_nsys.read.nsys_rep import open_report
from taxbreak_nsys.read.op_shapes import OpShapes, read_op_shapes
from taxbreak_nsys.read.samples import Chains, Samples, read_evidence
from taxbreak_nsys.read.trace import KERNEL, PROCESS_MASK, Trace, pid, tid
from taxbreak_nsys.reference import times_of
from taxbreak_nsys.replay.savings import with_savings
from taxbreak_nsys.result import DeviceTime, LaunchCounts, Outside, Phase, ReportFacts, Result
from taxbreak_nsys.samples import locate, without_marks
from taxbreak_nsys.states import host_intervals
from taxbreak_nsys.strata import Split, figures, layers_of, library_interval, merged, precise_enough, split_of
from taxbreak_nsys.verdict import judge
from taxbreak_nsys.words import STATES


@dataclass(frozen=True)
class Options:
    """What a user can choose of an analysis.

    `window` is (start, end) in ns of the session; `process` and `thread` are the ids that nsys shows; `t_sys_ns`
    or `null_report` give the floor of the launch path; `evidence` forces one of `layers.EVIDENCES`. `phases` is
    one of `phases.SOURCES` (None: the best), `engine` the name of the engine whose marks are meant, `phase_rules`
    a file of more engines; `by_batch` splits phases by the number of requests. `modules` is a table of modules
    of the user's, `reference` a file of un-profiled times (`FILE#SET` where it holds several), `library_map` what
    `library-map` learned from another report.
    """

    rules: tuple[PhaseRule, ...] = ()
    window: tuple[int, int] | None = None
    process: int | None = None
    thread: int | None = None
    t_sys_ns: int | None = None
    null_report: Path | None = None
    evidence: str | None = None
    skip: int = 0
    """Leave out the first so many instances of each phase and thread, where it has more."""
    phases: str | None = None
    engine: str | None = None
    phase_rules: Path | None = None
    by_batch: bool = False
    modules: Path | None = None
    reference: str | None = None
    library_map: Path | None = None


def analyze(report: str | Path, options: Options | None = None) -> Result:
    """Analyse one report, a `.sqlite` export or a `.nsys-rep` (exported through the nsys on PATH).

    Returns the result; raises TaxbreakError, whose message is one line, where the report or the options are
    no use. The report is opened read-only and nothing is written beside it.
    """
    options = options or Options()
    path = Path(report)
    with open_report(path) as database, ThreadPoolExecutor(1) as aside:
        content = aside.submit(sha256, path)
        facts = read_facts(database, path)
        trace = read_trace(database)
        samples, chains = read_evidence(database, trace.api.callchain_id, options.modules)
        facts = replace(facts, sha256=content.result(), warnings=cautions.of_reading(database))
    launches = find_launches(trace)
    if not len(launches):
        raise TaxbreakError(
            f"{path}: no CUDA launch with device work; capture with 'nsys profile -t cuda,nvtx,osrt' around the "
            "part that uses the GPU"
        )
    limits.check_threads(launches, path)
    found = find_instances(trace, launches, _choice(options), lambda: _shapes(path, trace))
    instances = _selected(found, options, path)
    limits.check_entries(instances, path)
    t_sys = _t_sys(launches, options)
    limits.check_t_sys(t_sys, launches, path)
    evidence = Evidence(samples, chains, options.evidence == "samples", read_map(options.library_map))
    return summarise(facts, measure(trace, launches, instances, evidence), t_sys, options)


def _shapes(path: Path, trace: Trace) -> OpShapes:
    """Read what only phases found in the launches need."""
    with open_report(path) as database:
        return read_op_shapes(database, trace.ops)


def _choice(options: Options) -> Choice:
    return Choice(
        options.rules, options.window, options.phases or "best", options.engine, load_engines(options.phase_rules),
        options.by_batch,
    )  # fmt: skip


def _selected(instances: Instances, options: Options, path: Path) -> Instances:
    """Keep the instances of the process and thread that were asked for."""
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
    return instances.keep(keep)


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


@dataclass(frozen=True)
class Evidence:
    """What a report has beside its trace: samples, call chains, and what was learned of kernels elsewhere.

    `samples_alone` leaves the ranges of libraries and operators out of the states.
    """

    samples: Samples | None = None
    chains: Chains | None = None
    samples_alone: bool = False
    learned: Mapping[str, bool] = field(default_factory=dict)


def measure(trace: Trace, launches: Launches, instances: Instances, evidence: Evidence | None = None) -> Columns:
    """Measure everything that the sums of the phases are made of."""
    evidence = evidence or Evidence()
    launch_instance = instances.at(launches.thread, launches.start)
    marked = without_marks(trace) if evidence.samples_alone and evidence.samples else trace
    intervals = host_intervals(marked, launches, instances)
    intervals = with_exposure(intervals, trace, launches, instances, launch_instance)
    operators = find_operators(trace, launches)
    signs = signs_of(trace, launches, evidence.chains, evidence.learned)
    mediation = mediate(trace, launches, operators, launch_instance >= 0, signs)
    sampled = locate(evidence.samples, intervals, instances) if evidence.samples else None
    return Columns(trace, launches, instances, intervals, operators, mediation, sampled, evidence.chains)


def _t_sys(launches: Launches, options: Options) -> TSys:
    """Return the floor of the launch path by the best source at hand (method section 4)."""
    if options.t_sys_ns is not None:
        return TSys(options.t_sys_ns, "given")
    if options.null_report is not None:
        path = options.null_report
        with open_report(path) as database:
            latency = launch_latency(find_launches(read_trace(database)), idle_only=False)
        median = percentile(latency, 50)
        if median is None:
            raise TaxbreakError(f"{path}: holds no kernel launch, so it cannot say T_sys (--null-report)")
        return TSys(median, "null_report")
    return t_sys_of(launches)


def summarise(facts: ReportFacts, columns: Columns, t_sys: TSys, options: Options) -> Result:
    """Sum the columns up to phases and say what they mean."""
    instances, steps = columns.instances, columns.steps
    entries: list[Phase] = []
    rows_of: list[breakdown.Entry] = []
    times = times_of(options.reference, set(instances.labels)) if options.reference else {}
    order = sorted(set(instances.label.tolist()), key=lambda code: int(instances.start[instances.label == code].min()))
    for code in order:
        of_label = instances.label == code
        label = instances.labels[code]
        threads = np.unique(instances.thread[of_label]).tolist()
        evidences, splits = [], []
        for thread in threads:
            which = of_label & (instances.thread == thread)
            strata = split_of(columns.sampled, which) if columns.sampled else None
            evidence = _evidence(columns, which, thread, strata, options.evidence)
            evidences.append(evidence)
            splits += [strata] if strata else []
            rows_of.append((label, thread, evidence))
            entries.append(_entry(columns, steps, which, label, thread, evidence, t_sys, strata, times.get(label)))
        if len(threads) > 1:
            weakest = max(evidences, key=EVIDENCES.index)
            strata = merged(splits) if splits else None
            entries.append(_entry(columns, steps, of_label, label, None, weakest, t_sys, strata, times.get(label)))
    result = Result(
        facts, t_sys.ns, t_sys.source, tuple(entries), _outside(columns),
        tuple(breakdown.kernel_rows(columns, rows_of)),
        tuple(breakdown.operator_rows(columns, rows_of)),
        tuple(breakdown.api_rows(columns, rows_of)),
        columns,
        *sample_breakdown.rows(columns, rows_of),
    )  # fmt: skip
    result = with_savings(result)
    return replace(result, report=replace(facts, warnings=facts.warnings + cautions.of_result(result)))


def _evidence(columns: Columns, which: Flags, thread: int, strata: Split | None, forced: str | None) -> str:
    """Return the best evidence that a phase has, or the one that was asked for if it has that.

    Samples that are too few count where they are asked for.
    """
    trace, process = columns.trace, thread & PROCESS_MASK
    ranges = bool(
        np.any(trace.ranges.is_library & ((trace.ranges.thread & PROCESS_MASK) == process))
        or np.any((trace.library_calls.thread & PROCESS_MASK) == process)
    )
    held = columns.launch_instance
    inside = (held >= 0) & which[np.maximum(held, 0)]
    subtractive = columns.mediation.t_base is not None and bool(np.any(inside & columns.mediation.has_dispatch))
    samples = strata is not None and (
        precise_enough(strata) if forced is None else any(s.samples for s in strata.strata)
    )
    available = {"ranges": ranges, "samples": samples, "subtractive": subtractive, "none": True}
    if forced is not None:
        return forced if available.get(forced) else "none"
    return next(name for name in EVIDENCES if available.get(name))


def _entry(
    columns: Columns,
    steps: Steps,
    which: Flags,
    label: str,
    thread: int | None,
    evidence: str,
    t_sys: TSys,
    strata: Split | None,
    reference_ns: int | None,
) -> Phase:
    """Sum up one phase entry: one thread's instances, or those of all threads that share the label."""
    states = dict(zip(STATES, steps.states[which].sum(axis=0).tolist(), strict=True))
    counts = LaunchCounts(
        kernel=int(steps.kernel_launches[which].sum()),
        graph=int(steps.graph_launches[which].sum()),
        memory=int(steps.memory_launches[which].sum()),
        unmeasured_graph=int(steps.unmeasured_graphs[which].sum()),
    )
    ops = columns.trace.ops
    of_phase = (columns.op_instance >= 0) & which[np.maximum(columns.op_instance, 0)]
    exposed: dict[str, int] | None = None
    device = DeviceTime(None, None, None)
    if not counts.unmeasured_graph:
        exposed = dict(zip(STATES, steps.exposed[which].sum(axis=0).tolist(), strict=True))
        device = DeviceTime(int(active_ns(ops, of_phase)[0]), kernel_sum_ns(ops, of_phase), sum(exposed.values()))
    sums = PhaseSums(
        states, counts, device, int(steps.over_base[which].sum()),
        layers_of(strata) if strata else None, library_interval(strata) if strata else None,
    )  # fmt: skip
    wall, median = int(steps.wall[which].sum()), percentile(steps.wall[which], 50)
    layers = split(sums, evidence, t_sys.ns)
    steps_of = {
        "wall": wall,
        "delta_ft": layers.delta_ft_ns,
        "delta_ct": layers.delta_ct_ns,
        "delta_kt": layers.delta_kt_ns,
        "t_orchestration": layers.t_orchestration_ns,
        "t_device_active": layers.t_device_active_ns,
    }
    samples = figures(strata, evidence, wall) if strata else None
    count = int(which.sum())
    return Phase(
        phase=label,
        process=None if thread is None else pid(thread),
        thread=None if thread is None else tid(thread),
        instances=count,
        wall_ns=wall,
        wall_median_ns=median,
        launches=counts,
        kernels=int(steps.kernels[which].sum()),
        states_ns=states,
        in_os_ns=dict(zip(STATES, steps.in_os[which].sum(axis=0).tolist(), strict=True)),
        exposed_ns=exposed,
        device=device,
        taxbreak=layers,
        samples=samples,
        corrected=corrected(sums, layers, strata, reference_ns, count, median) if reference_ns and median else None,
        verdict=judge(exposed, states, layers, wall, samples),
        phase_source=source_of(columns.instances, which),
        steps=step_counts(columns.instances, which, steps_of),
    )


def _outside(columns: Columns) -> Outside:
    """Count what lies in no phase."""
    ops, launches = columns.trace.ops, columns.launches
    out = columns.launch_instance < 0
    out_op = columns.op_instance < 0
    all_kernels, missed = kernel_sum_ns(ops, np.ones(len(ops), bool)), kernel_sum_ns(ops, out_op)
    return Outside(
        kernel_launches=int(np.sum(out & (launches.kind == KERNEL_LAUNCH))),
        graph_launches=int(np.sum(out & np.isin(launches.kind, (GRAPH_LAUNCH, UNMEASURED_GRAPH)))),
        memory_launches=int(np.sum(out & (launches.kind == MEMORY_LAUNCH))),
        kernels=int(np.sum(out_op & (ops.kind == KERNEL))),
        kernels_without_launch=int(np.sum((launches.of_op < 0) & (ops.kind == KERNEL))),
        kernel_sum_ns=missed,
        share=missed / all_kernels if all_kernels else None,
    )
