"""The scenario in which each step's launches become CUDA graphs: one call, kernels back to back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import KERNEL_LAUNCH, MEMORY_LAUNCH
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.replay.thread_model import ThreadModel, distinct_rising
from taxbreak_nsys.replay.typical_delays import GRAPH_LAUNCH_NS_PER_NODE
from taxbreak_nsys.result import Phase

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Changed:
    """A thread's model under a scenario: what `simulate.replay` takes, and what the layers' sums need.

    `host` and `scale` are the factors on pieces of host time and on items' kernels; `in_graph` the pieces that
    a graph launch replaces. For each phase instance, `graphs` counts the graphs made and `in_graphs` the
    kernel launches that went into them.
    """

    model: ThreadModel
    host: Floats
    scale: Floats
    in_graph: Flags
    graphs: Ints
    in_graphs: Ints


def with_graphs(
    columns: Measured, changed: Changed, graph_launch_ns: int | None, entries: Mapping[int, Phase]
) -> tuple[Changed, Floats]:
    """Launch each stretch between two waits of an instance as one graph, where that is shorter for the host.

    From the stretch's first launch to its last the host does nothing but the graph launch, which takes
    `graph_launch_ns` (None: T_sys and 200 ns a node); what comes before and after stays. Its work begins when
    that call returns and follows with the gap of graph nodes. Returns the changed model and the factor on
    each piece inside graphs.
    """
    model, launches, instances = changed.model, columns.launches, columns.instances
    index = _capturable(columns, model, entries)
    instance = columns.launch_instance[index]
    start, end = launches.start[index] - model.origin, launches.end[index] - model.origin
    stretch = np.searchsorted(model.waits.end, start, side="right")
    new = np.ones(len(index), bool)
    new[1:] = (np.diff(instance) != 0) | (np.diff(stretch) != 0)
    at = np.flatnonzero(new)
    past = np.r_[at[1:], len(index)] if len(at) else at
    nodes = past - at
    call = (
        model.typical.latency + GRAPH_LAUNCH_NS_PER_NODE * nodes
        if graph_launch_ns is None
        else np.full(len(at), graph_launch_ns)
    )
    shorter = (nodes > 1) & (end[past - 1] - start[at] > call)
    at, past, call = at[shorter], past[shorter], call[shorter]
    if not len(at):
        return changed, np.ones(len(model.piece_interval))
    low, high = start[at], end[past - 1]

    knots = distinct_rising(np.sort(np.r_[model.knots, low, high], kind="stable"))
    piece = model.piece_interval[np.searchsorted(model.knots, knots[:-1], side="right") - 1]
    graph = np.searchsorted(low, knots[:-1], side="right") - 1
    in_graph = (graph >= 0) & (knots[:-1] < high[np.maximum(graph, 0)])
    factor = np.where(in_graph, (call / (high - low))[np.maximum(graph, 0)], 1.0)

    of_launch = np.full(len(index), -1, np.int64)
    for number, (first, stop) in enumerate(zip(at.tolist(), past.tolist(), strict=True)):
        of_launch[first:stop] = number
    position = np.minimum(np.searchsorted(index, model.work.launch), len(index) - 1)
    node = np.where(index[position] == model.work.launch, of_launch[position], -1)
    inside = node >= 0
    follows = inside & ~model.work.first & (np.r_[-1, node[:-1]] == node)
    model = replace(
        model, knots=knots, piece_interval=piece,
        anchor=np.where(inside, low[node], model.anchor),
        latency=np.where(inside, call[node], model.latency),
        gap=np.where(follows, model.typical.graph_gap, model.gap),
    )  # fmt: skip
    captured = index[of_launch >= 0]
    kernels = captured[launches.kind[captured] == KERNEL_LAUNCH]
    count = len(instances)
    graphs = np.bincount(instance[at], minlength=count)
    in_graphs = np.bincount(columns.launch_instance[kernels], minlength=count)
    return replace(changed, model=model, in_graph=in_graph, graphs=graphs, in_graphs=in_graphs), factor


def _capturable(columns: Measured, model: ThreadModel, entries: Mapping[int, Phase]) -> Ints:
    """Return the launches that could go into a graph: those of the phases that do not make the host wait."""
    launches, waits = columns.launches, model.waits
    mine = thread_slice(launches.thread, model.thread)
    index = np.flatnonzero(np.isin(launches.kind[mine], (KERNEL_LAUNCH, MEMORY_LAUNCH))) + mine.start
    start, end = launches.start[index] - model.origin, launches.end[index] - model.origin
    instance = columns.launch_instance[index]
    label = np.where(instance >= 0, columns.instances.label[np.maximum(instance, 0)], -1)
    keep = np.isin(label, list(entries)) & (start >= 0) & (end <= model.knots[-1])
    if len(waits):
        following = np.searchsorted(waits.end, start, side="right")
        at = np.minimum(following, len(waits) - 1)
        keep &= (following == len(waits)) | (end <= waits.start[at])
    return index[keep]
