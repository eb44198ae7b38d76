"""Find the phases of a report: by the user's rules, an engine's marks, the outermost ranges, or the launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import PhasesFrom
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.step_counts import UNKNOWN, PhaseSource
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Ranges, Trace, runs, thread_slice
from taxbreak_nsys.phases import engine_marks, nvtx_ranges
from taxbreak_nsys.phases.cycles import IdleTime, to_cycles, without_idle
from taxbreak_nsys.phases.instances import ALL, Instances, assemble
from taxbreak_nsys.phases.nvtx_ranges import PhaseRule
from taxbreak_nsys.phases.process_phases import ProcessPhases, thread_phases
from taxbreak_nsys.phases.rank_groups import with_ranks
from taxbreak_nsys.read.op_shapes import OpShapes

SOURCES = tuple(source.value for source in PhasesFrom)
"""Where phases may come from (--phases): the best source; NVTX ranges or else `all`; launches or else `all`; `all`."""


@dataclass(frozen=True)
class Choice:
    """The user's choices about phases.

    `rules` override every other source; `window` (ns) keeps the instances that lie wholly inside it; `source` is one
    of SOURCES; `engine` names the engine whose marks to use; `engines` are the known engines (default: the package's
    rules); `by_batch` splits phases by the number of requests.
    """

    rules: tuple[PhaseRule, ...] = ()
    window: tuple[int, int] | None = None
    source: str = "best"
    engine: str | None = None
    engines: tuple[engine_marks.Engine, ...] | None = None
    by_batch: bool = False
    instances: str | None = None
    """`range` or `cycle`; None: cycles for an engine's marks, ranges otherwise (method section 2.1)."""


def find_instances(
    trace: Trace, launches: Launches, choice: Choice | None = None, shapes: Callable[[], OpShapes] | None = None
) -> Instances:
    """Find the phase instances of every launching thread.

    The sources, in order: with rules, ranges of any depth whose text a rule matches; the marks of a known engine; the
    outermost ranges that are neither a library's nor an operator's; steps found in the launches (where `shapes` is
    given); the thread as one phase, `all`. A process uses one of these sources. Raises TaxbreakError where the
    requested rule, engine or split is not in the report.
    """
    choice = choice or Choice()
    threads = launches.thread[[low for low, _ in runs(launches.thread)]].tolist()
    outline = LaunchOutline.over(trace, launches)
    processes, idle = _marked_phases(trace.ranges, threads, choice, outline)
    if shapes is not None:
        processes = [_named_by_kernels(trace, launches, phases, shapes) for phases in processes]
    left = _uncovered(threads, processes)
    why: dict[int, str] = {}
    if left and choice.source in ("best", "auto") and shapes is not None and not choice.rules:
        from taxbreak_nsys.phases.step_detection import by_launches

        steps, why = by_launches(trace, launches, left, shapes)
        steps = _with_helpers(steps, left)
        processes += [to_cycles(phases, outline)[0] if phases.cycles else phases for phases in steps]
    if not choice.rules:
        processes += _whole_threads(trace, launches, _uncovered(threads, processes), choice.window, why)
    instances = assemble(_split_batches(processes, choice), outline, choice.window, idle)
    assert instances is not None
    return with_ranks(instances, outline)


def find_in_marks(
    ranges: Ranges, threads: Sequence[int], choice: Choice, outline: LaunchOutline | None = None
) -> Instances | None:
    """Return the instances of `find_instances` where the marks alone decide them for every thread; else None.

    `ranges` has at least the ranges that may be marks, `threads` the launching threads. The launches are needed for a
    thread without marks, for steps whose marks do not name them, and, without an `outline`, for cycles and for
    instances with several candidate host threads.
    """
    if choice.source not in ("best", "marks") and not choice.rules:
        return None
    try:
        processes, idle = _marked_phases(ranges, threads, choice, outline)
    except _NeedsLaunchesError:
        return None
    if not choice.rules and _uncovered(threads, processes):
        return None
    if any(_unnamed(phases) for phases in processes):
        return None
    instances = assemble(_split_batches(processes, choice), outline, choice.window, idle)
    return None if instances is None else with_ranks(instances, outline)


class _NeedsLaunchesError(Exception):
    """The end of an instance depends on the launches, which are not at hand."""


def _uncovered(threads: Sequence[int], processes: Sequence[ProcessPhases]) -> list[int]:
    """Return the launching threads that no phases cover yet."""
    done = {thread for phases in processes for thread in phases.threads}
    return [thread for thread in threads if thread not in done]


def _marked_phases(
    ranges: Ranges, threads: Sequence[int], choice: Choice, outline: LaunchOutline | None
) -> tuple[list[ProcessPhases], list[IdleTime]]:
    """Return the phases that NVTX ranges mark, and the idle time by engines' marks."""
    idle: list[IdleTime] = []
    processes: list[ProcessPhases] = []
    if choice.rules:
        marked_by_rules = nvtx_ranges.by_rules(ranges, threads, choice.rules)
        return [_as_instances(p, choice, "range", outline, idle) for p in marked_by_rules], idle
    if choice.source not in ("best", "marks"):
        return processes, idle
    known = engine_marks.load_engines() if choice.engines is None else choice.engines
    cycles = choice.instances != "range" and outline is not None
    computing = outline.computing_threads() if cycles and outline is not None else None
    # Several engines may run side by side, each in its own processes.
    for engine in (known,) if choice.engine is not None else ((engine,) for engine in known):
        marked = engine_marks.recognise(ranges, engine, choice.engine)
        if marked is not None:
            by_engine = engine_marks.by_engine(ranges, _uncovered(threads, processes), marked, computing)
            processes += [_as_instances(p, choice, "cycle", outline, idle) for p in by_engine]
    outermost = nvtx_ranges.by_outermost(ranges, _uncovered(threads, processes))
    return processes + [_as_instances(p, choice, "range", outline, idle) for p in outermost], idle


def _as_instances(
    phases: ProcessPhases, choice: Choice, default: str, outline: LaunchOutline | None, idle: list[IdleTime]
) -> ProcessPhases:
    """Return marked phases as ranges or cycles, as chosen; adds the time of marks without requests to `idle`."""
    engine = phases.source.kind == "engine"
    if (choice.instances or default) == "range":
        kept, times = without_idle(phases) if engine else (phases, [])
    elif outline is None:
        raise _NeedsLaunchesError
    else:
        kept, times = to_cycles(phases, outline)
    idle += times
    return kept


def _unnamed(phases: ProcessPhases) -> bool:
    """Return whether some steps must be named by their kernels, because their marks do not name them."""
    return phases.source.kind == "engine" and any(label in phases.unnamed for label in phases.labels)


def _named_by_kernels(
    trace: Trace, launches: Launches, phases: ProcessPhases, shapes: Callable[[], OpShapes]
) -> ProcessPhases:
    """Return the phases; steps that their marks do not name are named by their kernels."""
    if not _unnamed(phases):
        return phases
    from taxbreak_nsys.phases.step_detection import name_steps

    read = shapes()
    for thread in phases.threads:
        phases = name_steps(trace, launches, phases, thread, read)
    return phases


def _with_helpers(steps: Sequence[ProcessPhases], threads: Sequence[int]) -> list[ProcessPhases]:
    """Return the steps; threads of a process without repeating steps become helpers of the thread with most steps."""
    stepless = [thread for thread in threads if all(thread not in phases.threads for phases in steps)]
    result = []
    for phases in steps:
        in_process = [other for other in steps if other.process == phases.process]
        helpers = tuple(thread for thread in stepless if thread & PROCESS_MASK == phases.process)
        if helpers and phases is max(in_process, key=len):
            result.append(replace(phases, threads=(*phases.threads, *helpers), shared=np.ones(len(phases), bool)))
        else:
            result.append(phases)
    return result


def _whole_threads(
    trace: Trace, launches: Launches, threads: Sequence[int], window: tuple[int, int] | None, why: dict[int, str]
) -> list[ProcessPhases]:
    """Return each thread as one phase, clipped to the time filter `window`; `why` has the reason by thread."""
    result = []
    for thread in threads:
        low, high = _whole(trace, launches, thread)
        if window:
            low, high = max(low, window[0]), min(high, window[1])
        source = PhaseSource(ALL, evidence=why.get(thread, "no usable NVTX range"))
        if high > low:
            code = np.zeros(1, np.int64)
            result.append(thread_phases(thread, np.array([low]), np.array([high]), code, (ALL,), source))
    return result


def _whole(trace: Trace, launches: Launches, thread: int) -> tuple[int, int]:
    """Return the span from a thread's first launch to the end of its last API call or device operation."""
    part = thread_slice(launches.thread, thread)
    last = int(trace.api.end[trace.api.thread_slice(thread)].max())
    ops = (launches.of_op >= part.start) & (launches.of_op < part.stop)
    if ops.any():
        last = max(last, int(trace.ops.end[ops].max()))
    return int(launches.start[part].min()), last


def _split_batches(processes: Sequence[ProcessPhases], choice: Choice) -> Sequence[ProcessPhases]:
    """Return the phases, with --by batch split by number of requests; raises TaxbreakError where no mark says it."""
    if not choice.by_batch:
        return processes
    if not any(np.any(phases.counts[:, 0] != UNKNOWN) for phases in processes):
        raise TaxbreakError(
            "--by batch: no phase of the report says how many requests it works on; serving engines' marks do "
            f"({', '.join(engine.name for engine in choice.engines or engine_marks.load_engines())})"
        )
    split = []
    for phases in processes:
        labels: dict[str, int] = {}
        code = []
        for label, requests in zip(phases.label.tolist(), phases.counts[:, 0].tolist(), strict=True):
            name = phases.labels[label] if requests == UNKNOWN else f"{phases.labels[label]}[batch={requests}]"
            code.append(labels.setdefault(name, len(labels)))
        split.append(replace(phases, label=np.array(code, np.int64), labels=tuple(labels)))
    return split
