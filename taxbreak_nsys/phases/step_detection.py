"""Phases where nobody marked them: steps found in the launches of a thread, and named by their kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints, percentile
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH, Launches
from taxbreak_nsys.model.step_counts import PhaseSource
from taxbreak_nsys.model.trace_columns import KERNEL, Trace, thread_slice
from taxbreak_nsys.phases.engine_marks import STEP
from taxbreak_nsys.phases.process_phases import ProcessPhases, thread_phases
from taxbreak_nsys.phases.repetition import FoundSteps, Launched, Periods, find_periods, step_kinds
from taxbreak_nsys.phases.step_kind import Kind, is_attention, name_kinds
from taxbreak_nsys.read.op_shapes import OpShapes

MIN_CONFIDENCE = 0.6
"""Below this, what was found is not used: the thread is one phase."""

MOST_IDLE = 0.5
"""A step begins where the one before it ended, unless that is further away than this share of its length."""


def by_launches(
    trace: Trace, launches: Launches, threads: Sequence[int], shapes: Callable[[], OpShapes]
) -> tuple[list[ProcessPhases], dict[int, str]]:
    """Return the steps of each thread that repeats some, and for each other thread why it has none."""
    found: list[ProcessPhases] = []
    why: dict[int, str] = {}
    if not threads:
        return found, why
    read = shapes()
    lead = _first_op(launches)
    for thread in threads:
        mine = thread_slice(launches.thread, thread)
        launched = _launched(trace, launches, mine, lead[mine], read)
        periods = find_periods(launched)
        if periods is None:
            why[thread] = "no steps that repeat were found in its launches"
        elif periods.confidence < MIN_CONFIDENCE:
            why[thread] = f"the steps found in its launches have a confidence of {periods.confidence:.2f} only"
        else:
            found.append(_found(trace, launches, mine, thread, launched, periods, read))
    return found, why


def _first_op(launches: Launches) -> Ints:
    """Return for each launch one of its device operations, the first in the report's order; -1 without any."""
    first = np.full(len(launches), -1, np.int64)
    joined = np.flatnonzero(launches.of_op >= 0)[::-1]
    first[launches.of_op[joined]] = joined
    return first


def _launched(trace: Trace, launches: Launches, mine: slice, lead: Ints, shapes: OpShapes) -> Launched:
    ops, names = trace.ops, len(trace.ops.names)
    held = lead >= 0
    op = np.maximum(lead, 0)
    kind = launches.kind[mine]
    graph, hidden = np.isin(kind, (GRAPH_LAUNCH, UNMEASURED_GRAPH)), kind == UNMEASURED_GRAPH
    memory = kind == MEMORY_LAUNCH
    to_host = memory & held & shapes.to_host[op]
    token = np.where(held, ops.name[op], 0)
    token[memory] = names + ops.kind[op[memory]] * 2 + to_host[memory]
    # a graph is told by its first kernel and how many it has
    token[graph] = names + 16 + ops.name[op[graph]] + names * launches.kernels[mine][graph]
    token[hidden] = names + 15
    # sizes a power of two apart are different steps; a few blocks more, as with a growing cache, are not
    size = np.where(held & ~memory & ~graph, np.log2(np.maximum(shapes.blocks[op], 1)).astype(np.int64), 0)
    start = launches.start[mine]
    sync = _synchronised(trace, int(launches.thread[mine.start]), start)
    of = (launches.of_op >= mine.start) & (launches.of_op < mine.stop) & (ops.kind == KERNEL)
    attends = is_attention(ops.names, np.unique(ops.name[of]))
    attention = np.bincount(
        launches.of_op[of][attends[ops.name[of]]] - mine.start, minlength=mine.stop - mine.start
    ).astype(np.int64)
    return Launched(token, token * 64 + size, sync | to_host, to_host, attention, graph, hidden, memory)


def _synchronised(trace: Trace, thread: int, start: Ints) -> Flags:
    """Tell after which launches (by their starts) the thread synchronised before the next."""
    api = trace.api
    part = api.thread_slice(thread)
    waits = np.array([name_rules.is_synchronisation(name) for name in api.names], bool)
    moments = api.start[part][waits[api.name[part]]]
    after = np.searchsorted(start, moments, side="right") - 1
    result = np.zeros(len(start), bool)
    result[after[after >= 0]] = True
    return result


def _found(
    trace: Trace, launches: Launches, mine: slice, thread: int, launched: Launched, periods: Periods, shapes: OpShapes
) -> ProcessPhases:
    labels, label, evidence = _named(trace, launches, mine, launched, periods, shapes)
    start, end = _times(trace, launches, mine, thread, periods)
    how = "a wait for the device ends each" if periods.waited else "no wait ends them: told by a kernel each has once"
    text = f"{len(start)} steps that repeat in the launches, {how}; {evidence}"
    source = PhaseSource("auto", None, round(periods.confidence, 3), text)
    # where no wait ends a step, its work goes on until the next step begins
    return replace(thread_phases(thread, start, end, label, labels, source), cycles=not periods.waited)


def _named(
    trace: Trace,
    launches: Launches,
    mine: slice,
    launched: Launched,
    steps: FoundSteps,
    shapes: OpShapes,
    *,
    one_function: bool = False,
) -> tuple[tuple[str, ...], Ints, str]:
    """Return labels, the label of each step as a code into them, and the evidence.

    `one_function` says that the marks show the steps to be calls of one function.
    """
    codes, position = np.unique(steps.kind, return_inverse=True)
    kinds = [_kind(trace, launches, mine, launched, steps, code, shapes) for code in codes.tolist()]
    names, evidence = name_kinds(
        kinds, trace.ops.names, attends=bool(launched.attention.any()), one_function=one_function
    )
    labels = tuple(dict.fromkeys(names))
    return labels, np.array([labels.index(name) for name in names], np.int64)[position], evidence


def name_steps(trace: Trace, launches: Launches, phases: ProcessPhases, thread: int, shapes: OpShapes) -> ProcessPhases:
    """Return phases with the steps that a thread launches, and whose marks do not say what they are, named by
    their kernels.
    """
    rows = phases.rows_for(thread)
    mine = thread_slice(launches.thread, thread)
    begun = launches.start[mine]
    first = np.searchsorted(begun, phases.start[rows], side="left")
    last = np.searchsorted(begun, phases.end[rows], side="left") - 1
    launched: Launched | None = None
    for name in sorted(phases.unnamed & set(phases.labels)):
        which = np.flatnonzero((phases.label[rows] == phases.labels.index(name)) & (first <= last))
        if not len(which):
            continue
        launched = launched or _launched(trace, launches, mine, _first_op(launches)[mine], shapes)
        kind, _ = step_kinds(launched.shape, first[which], last[which])
        which, kind = which[kind >= 0], kind[kind >= 0]
        if not len(which):
            continue
        steps = FoundSteps(first[which], last[which], kind)
        names, label, evidence = _named(trace, launches, mine, launched, steps, shapes, one_function=name != STEP)
        if set(names) <= {STEP}:
            continue
        # a step that its kernels do not name keeps the name that its mark gives it
        named = [name if names[code] == STEP else names[code] for code in label.tolist()]
        labels = tuple(dict.fromkeys((*phases.labels, *named)))
        code = phases.label.copy()
        code[rows[which]] = np.array([labels.index(text) for text in named], np.int64)
        source = replace(phases.source, evidence=f"{phases.source.evidence}; by the kernels: {evidence}")
        phases = replace(phases, label=code, labels=labels, source=source)
    return phases


def _times(trace: Trace, launches: Launches, mine: slice, thread: int, periods: Periods) -> tuple[Ints, Ints]:
    """Return where the host begins and ends each step: from the end of the step before to that of its last wait."""
    api = trace.api
    part = api.thread_slice(thread)
    begun = launches.start[mine]
    first = begun[periods.first]
    # the calls after a step's last launch, until the next launch, still belong to it if they wait
    waits = np.array([name_rules.is_synchronisation(name) for name in api.names], bool)[api.name[part]]
    wait_start, wait_end = api.start[part][waits], api.end[part][waits]
    after = np.searchsorted(begun, wait_start, side="right") - 1
    ended = launches.end[mine].copy()
    np.maximum.at(ended, after[after >= 0], wait_end[after >= 0])
    end = ended[periods.last]
    before = np.r_[first[0], ended[np.maximum(periods.first[1:] - 1, 0)]]
    length = end - first
    near = first - before <= MOST_IDLE * length
    start = np.where(near, before, first)
    return start, end


def _kind(
    trace: Trace, launches: Launches, mine: slice, launched: Launched, steps: FoundSteps, code: int, shapes: OpShapes
) -> Kind:
    """Gather the kernels of one kind of step."""
    ops = trace.ops
    which = steps.kind == code
    of_launch = np.full(len(launches), False)
    for low, high in zip(steps.first[which].tolist(), steps.last[which].tolist(), strict=True):
        of_launch[mine.start + low : mine.start + high + 1] = True
    held = (launches.of_op >= 0) & of_launch[np.maximum(launches.of_op, 0)] & (ops.kind == KERNEL)
    name, index, count = np.unique(ops.name[held], return_inverse=True, return_counts=True)
    blocks = np.bincount(index, shapes.blocks[held].astype(np.float64), len(name)).astype(np.float64)
    inside = of_launch[mine]
    reads = np.flatnonzero(launched.to_host & inside)
    last = np.searchsorted(reads, steps.last[which], side="right") - 1
    last = reads[last[(last >= 0)]]
    bytes_of = np.zeros(len(launched), np.int64)
    copies = np.flatnonzero((launches.of_op >= mine.start) & (launches.of_op < mine.stop) & shapes.to_host)
    bytes_of[launches.of_op[copies] - mine.start] = ops.bytes[copies]
    read = percentile(bytes_of[last], 50) or 0
    return Kind(
        name, count, blocks, int(which.sum()), int(steps.first[which].min()),
        bool(np.any(launched.graph & inside)), bool(np.any(launched.hidden & inside)), read,
    )  # fmt: skip
