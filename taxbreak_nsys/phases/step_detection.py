"""Phases without marks: steps found in the launches of a thread, and named by their kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints, percentile
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH, Launches
from taxbreak_nsys.model.step_counts import PhaseSource
from taxbreak_nsys.model.trace_columns import KERNEL, Trace, name_flags, thread_slice
from taxbreak_nsys.phases.engine_marks import STEP
from taxbreak_nsys.phases.process_phases import ProcessPhases, thread_phases
from taxbreak_nsys.phases.repetition import FoundSteps, Periods, find_periods
from taxbreak_nsys.phases.step_division import Launched, step_kinds
from taxbreak_nsys.phases.step_kind import Kind, is_attention, name_kinds
from taxbreak_nsys.read.op_shapes import OpShapes

MIN_CONFIDENCE = 0.6
"""Steps found with less confidence are not used: the thread is one phase."""

MOST_IDLE = 0.5
"""A step begins where the previous step ended, unless the gap is longer than this share of the step's length."""


def by_launches(
    trace: Trace, launches: Launches, threads: Sequence[int], shapes: Callable[[], OpShapes]
) -> tuple[list[ProcessPhases], dict[int, str]]:
    """Return the steps of each thread that repeats steps, and {thread: reason} for each other thread."""
    phases: list[ProcessPhases] = []
    why: dict[int, str] = {}
    if not threads:
        return phases, why
    read = shapes()
    lead = _first_op(launches)
    for thread in threads:
        part = thread_slice(launches.thread, thread)
        launched = _launched(trace, launches, part, lead[part], read)
        periods = find_periods(launched)
        if periods is None:
            why[thread] = "its launches show no repeating steps"
        elif periods.confidence < MIN_CONFIDENCE:
            why[thread] = f"the steps found in its launches have a confidence of only {periods.confidence:.2f}"
        else:
            phases.append(_step_phases(trace, launches, part, thread, launched, periods, read))
    return phases, why


def _first_op(launches: Launches) -> Ints:
    """Return for each launch its first device operation in the report's order; -1 without device operations."""
    first = np.full(len(launches), -1, np.int64)
    joined = np.flatnonzero(launches.of_op >= 0)[::-1]
    first[launches.of_op[joined]] = joined
    return first


def _launched(trace: Trace, launches: Launches, part: slice, lead: Ints, shapes: OpShapes) -> Launched:
    """Return one thread's launches (the slice `part`) as codes; `lead` is the first device operation of each."""
    ops, names = trace.ops, len(trace.ops.names)
    known = lead >= 0
    op = np.maximum(lead, 0)
    kind = launches.kind[part]
    graph, hidden = np.isin(kind, (GRAPH_LAUNCH, UNMEASURED_GRAPH)), kind == UNMEASURED_GRAPH
    memory = kind == MEMORY_LAUNCH
    to_host = memory & known & shapes.to_host[op]
    token = np.where(known, ops.name[op], 0)
    token[memory] = names + ops.kind[op[memory]] * 2 + to_host[memory]
    # The first kernel and the number of kernels identify a graph.
    token[graph] = names + 16 + ops.name[op[graph]] + names * launches.kernels[part][graph]
    token[hidden] = names + 15
    # Grids a power of two apart mean different steps; a few more blocks, as with a growing KV cache, do not.
    size = np.where(known & ~memory & ~graph, np.log2(np.maximum(shapes.blocks[op], 1)).astype(np.int64), 0)
    start = launches.start[part]
    sync = _synchronised(trace, int(launches.thread[part.start]), start)
    kernel = (launches.of_op >= part.start) & (launches.of_op < part.stop) & (ops.kind == KERNEL)
    attends = is_attention(ops.names, np.unique(ops.name[kernel]))
    attention = np.bincount(
        launches.of_op[kernel][attends[ops.name[kernel]]] - part.start, minlength=part.stop - part.start
    ).astype(np.int64)
    return Launched(
        token=token,
        shape=token * 64 + size,
        ends=sync | to_host,
        to_host=to_host,
        attention=attention,
        graph=graph,
        hidden=hidden,
        memory=memory,
    )


def _synchronised(trace: Trace, thread: int, start: Ints) -> Flags:
    """Return a flag per launch (by its start): whether the thread synchronised before its next launch."""
    api = trace.api
    part = api.thread_slice(thread)
    waits = name_flags(name_rules.is_synchronisation, api.names)
    moments = api.start[part][waits[api.name[part]]]
    after = np.searchsorted(start, moments, side="right") - 1
    result = np.zeros(len(start), bool)
    result[after[after >= 0]] = True
    return result


def _step_phases(
    trace: Trace, launches: Launches, part: slice, thread: int, launched: Launched, periods: Periods, shapes: OpShapes
) -> ProcessPhases:
    """Return the repeating steps of a thread as phases, named by their kernels."""
    labels, label, evidence = _named(trace, launches, part, launched, periods, shapes)
    start, end = _times(trace, launches, part, thread, periods)
    how = (
        "each ends with a wait for the device"
        if periods.waited
        else "no wait ends them: divided by a kernel each runs once"
    )
    text = f"{len(start)} repeating steps in the launches, {how}; {evidence}"
    source = PhaseSource(kind="auto", confidence=round(periods.confidence, 3), evidence=text)
    # Where no wait ends a step, its device work lasts until the next step begins.
    return replace(thread_phases(thread, start, end, label, labels, source), cycles=not periods.waited)


def _named(
    trace: Trace,
    launches: Launches,
    part: slice,
    launched: Launched,
    steps: FoundSteps,
    shapes: OpShapes,
    *,
    one_function: bool = False,
) -> tuple[tuple[str, ...], Ints, str]:
    """Return the labels, the label of each step as a code into them, and the evidence.

    `one_function` says that the marks of the steps are calls of one function.
    """
    codes, position = np.unique(steps.kind, return_inverse=True)
    kinds = [_kind(trace, launches, part, launched, steps, code, shapes) for code in codes.tolist()]
    names, evidence = name_kinds(
        kinds, trace.ops.names, attends=bool(launched.attention.any()), one_function=one_function
    )
    labels = tuple(dict.fromkeys(names))
    return labels, np.array([labels.index(name) for name in names], np.int64)[position], evidence


def name_steps(trace: Trace, launches: Launches, phases: ProcessPhases, thread: int, shapes: OpShapes) -> ProcessPhases:
    """Return the phases with a thread's steps renamed by their kernels, where their marks do not say what they are."""
    rows = phases.thread_rows(thread)
    part = thread_slice(launches.thread, thread)
    launch_start = launches.start[part]
    first = np.searchsorted(launch_start, phases.start[rows], side="left")
    last = np.searchsorted(launch_start, phases.end[rows], side="left") - 1
    launched: Launched | None = None
    for name in sorted(phases.unnamed & set(phases.labels)):
        which = np.flatnonzero((phases.label[rows] == phases.labels.index(name)) & (first <= last))
        if not len(which):
            continue
        launched = launched or _launched(trace, launches, part, _first_op(launches)[part], shapes)
        kind, _ = step_kinds(launched.shape, first[which], last[which])
        which, kind = which[kind >= 0], kind[kind >= 0]
        if not len(which):
            continue
        steps = FoundSteps(first[which], last[which], kind)
        names, label, evidence = _named(trace, launches, part, launched, steps, shapes, one_function=name != STEP)
        if set(names) <= {STEP}:
            continue
        # A step that its kernels do not name keeps the label of its mark.
        named = [name if names[code] == STEP else names[code] for code in label.tolist()]
        labels = tuple(dict.fromkeys((*phases.labels, *named)))
        code = phases.label.copy()
        code[rows[which]] = np.array([labels.index(text) for text in named], np.int64)
        source = replace(phases.source, evidence=f"{phases.source.evidence}; by the kernels: {evidence}")
        phases = replace(phases, label=code, labels=labels, source=source)
    return phases


def _times(trace: Trace, launches: Launches, span: slice, thread: int, periods: Periods) -> tuple[Ints, Ints]:
    """Return the host start and end of each step: from the end of the previous step to the end of its last wait."""
    api = trace.api
    part = api.thread_slice(thread)
    launch_start = launches.start[span]
    first = launch_start[periods.first]
    # Waits between a step's last launch and the next launch still belong to the step.
    waits = name_flags(name_rules.is_synchronisation, api.names)[api.name[part]]
    wait_start, wait_end = api.start[part][waits], api.end[part][waits]
    after = np.searchsorted(launch_start, wait_start, side="right") - 1
    ended = launches.end[span].copy()
    np.maximum.at(ended, after[after >= 0], wait_end[after >= 0])
    end = ended[periods.last]
    before = np.r_[first[0], ended[np.maximum(periods.first[1:] - 1, 0)]]
    length = end - first
    near = first - before <= MOST_IDLE * length
    start = np.where(near, before, first)
    return start, end


def _kind(
    trace: Trace, launches: Launches, part: slice, launched: Launched, steps: FoundSteps, code: int, shapes: OpShapes
) -> Kind:
    """Return the kernels of all steps of one kind (`code`)."""
    ops = trace.ops
    which = steps.kind == code
    of_launch = np.full(len(launches), False)
    for low, high in zip(steps.first[which].tolist(), steps.last[which].tolist(), strict=True):
        of_launch[part.start + low : part.start + high + 1] = True
    chosen = (launches.of_op >= 0) & of_launch[np.maximum(launches.of_op, 0)] & (ops.kind == KERNEL)
    name, index, count = np.unique(ops.name[chosen], return_inverse=True, return_counts=True)
    blocks = np.bincount(index, shapes.blocks[chosen].astype(np.float64), len(name)).astype(np.float64)
    inside = of_launch[part]
    reads = np.flatnonzero(launched.to_host & inside)
    last = np.searchsorted(reads, steps.last[which], side="right") - 1
    last = reads[last[(last >= 0)]]
    copied = np.zeros(len(launched), np.int64)
    copies = np.flatnonzero((launches.of_op >= part.start) & (launches.of_op < part.stop) & shapes.to_host)
    copied[launches.of_op[copies] - part.start] = ops.bytes[copies]
    read = percentile(copied[last], 50) or 0
    return Kind(
        name=name,
        kernels=count,
        blocks=blocks,
        steps=int(which.sum()),
        first=int(steps.first[which].min()),
        graph=bool(np.any(launched.graph & inside)),
        hidden=bool(np.any(launched.hidden & inside)),
        read=read,
    )
