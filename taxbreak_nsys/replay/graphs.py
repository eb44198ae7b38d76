"""The scenario in which the launches of each step become CUDA graphs: one call, kernels back to back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Floats, Ints, begins
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, KERNEL_LAUNCH, MEMORY_LAUNCH
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.thread_phases import ThreadPhases
from taxbreak_nsys.replay.typical_delays import GRAPH_LAUNCH_NS_PER_NODE
from taxbreak_nsys.replay.work import launches_within


@dataclass(frozen=True)
class Changed:
    """A thread's model under a scenario: the arguments of `simulate.replay`, and data for the sums of the layers.

    `host` and `scale` are the factors on pieces of host time and on the device work of items; `in_graph` flags the
    pieces that a graph launch replaces. For each phase instance, `graphs` counts the new graphs, `in_graphs` the kernel
    launches inside them, and `breaks` the waits between its launches, each of which ends a graph. `left_out` is the
    profiler's own time in instances with graphs (ns): the forecast leaves it out, and it does not count as saved.
    """

    model: ThreadModel
    host: Floats
    scale: Floats
    in_graph: Flags
    graphs: Ints
    in_graphs: Ints
    breaks: Ints
    left_out: Ints

    @classmethod
    def of(
        cls, columns: ReplayColumns, model: ThreadModel, *, host: Floats | None = None, scale: Floats | None = None
    ) -> Changed:
        """Return a model without graphs, with factors of 1 where none are given."""
        nothing, pieces = np.zeros(len(columns.instances), np.int64), len(model.piece_interval)
        return cls(
            model=model,
            host=np.ones(pieces) if host is None else host,
            scale=np.ones(len(model.work)) if scale is None else scale,
            in_graph=np.zeros(pieces, bool),
            graphs=nothing,
            in_graphs=nothing,
            breaks=nothing,
            left_out=nothing,
        )

    @property
    def is_as_measured(self) -> bool:
        """Whether no piece of host time and no device work has a factor other than 1."""
        return bool((self.host == 1).all() and (self.scale == 1).all())


@dataclass(frozen=True)
class _Spans:
    """Runs of launches that could each be one graph: launches `index[first:past]`, from `low` to `high` (ns)."""

    index: Ints
    first: Ints
    past: Ints
    low: Ints
    high: Ints

    def keep(self, which: Flags) -> _Spans:
        return replace(self, **{name: getattr(self, name)[which] for name in ("first", "past", "low", "high")})

    def by_launch(self) -> Ints:
        """Return the span of each launch of `index`, -1 for none."""
        step = np.zeros(len(self.index) + 1, np.int64)
        step[self.first] += np.arange(len(self.first)) + 1
        step[self.past] -= np.arange(len(self.first)) + 1
        return np.cumsum(step)[:-1] - 1


def with_graphs(
    columns: ReplayColumns, changed: Changed, graph_launch_ns: int | None, phases: ThreadPhases
) -> tuple[Changed, Floats]:
    """Launch each run of launches between two waits of an instance as one graph, if that is shorter for the host.

    Between the first launch of the run and the last, the host keeps the time that no graph removes: waits in the OS,
    and time that samples find off the CPU. The graph launch follows; it takes `graph_launch_ns`
    (None: T_sys and 200 ns per node). Host time before and after stays. The profiler's traced time is removed from the
    whole instance. The graph's work begins when the call returns; its kernels follow with the gap of graph nodes.
    Graphs that the program already launches stay as they are. Returns the changed model and the factor on each piece of
    host time.
    """
    model = changed.model
    spans = _spans(columns, model, phases)
    changed = replace(changed, breaks=_breaks(columns, model))
    if not len(spans.low):
        return changed, np.ones(len(model.piece_interval))
    nodes = spans.past - spans.first
    call = model.typical.latency + GRAPH_LAUNCH_NS_PER_NODE * nodes
    if graph_launch_ns is not None:
        call = np.full(len(nodes), graph_launch_ns)

    cut, span = model.cut_at(spans.low, spans.high)
    knots, piece, inside = cut.knots, cut.piece_interval, span >= 0
    length, stays = np.diff(knots), phases.staying.ravel()[columns.interval_cell[piece]]
    traced = (piece >= 0) & (columns.intervals.state[np.maximum(piece, 0)] == STATE["profiler"])
    removable = np.bincount(span[inside], weights=(length * (1 - stays) * ~traced)[inside], minlength=len(nodes))
    shorter = removable > call
    if not shorter.any():
        return changed, np.ones(len(model.piece_interval))
    inside &= shorter[np.maximum(span, 0)]
    share = np.divide(call, removable, out=np.ones(len(nodes)), where=shorter)
    factor = np.where(inside, stays + (1 - stays) * share[np.maximum(span, 0)], 1.0)
    graphed = spans.keep(shorter)
    model = replace(_graphed(model, graphed), knots=knots, piece_interval=piece)
    instance = columns.intervals.instance[np.maximum(piece, 0)]
    has_graph = np.zeros(len(columns.instances), bool)
    has_graph[columns.launch_instance[graphed.index[graphed.first]]] = True
    removed = np.flatnonzero(traced)
    removed = removed[has_graph[instance[removed]]]
    factor[removed] = 0.0
    left_out = np.zeros(len(columns.instances), np.int64)
    np.add.at(left_out, instance[removed], length[removed])
    return _counted(replace(changed, model=model, in_graph=inside, left_out=left_out), columns, graphed), factor


def without_left_out(columns: ReplayColumns, measured: Changed, left_out: Ints) -> Changed:
    """Return a measured model without the profiler's own time in the instances whose forecast leaves it out.

    What graphs save is the difference to this model: time of the profiler that the device's work hides shortens
    nothing.
    """
    piece, intervals = measured.model.piece_interval, columns.intervals
    interval = np.maximum(piece, 0)
    own = (piece >= 0) & (intervals.state[interval] == STATE["profiler"])
    own &= left_out[intervals.instance[interval]] > 0
    return replace(measured, host=np.where(own, 0.0, measured.host))


def _graphed(model: ThreadModel, spans: _Spans) -> ThreadModel:
    """Return the model with the work of each span starting at its end, node by node, and no full queue inside."""
    by_launch, work = spans.by_launch(), model.work
    position = np.minimum(np.searchsorted(spans.index, work.launch), len(spans.index) - 1)
    node = np.where(spans.index[position] == work.launch, by_launch[position], -1)
    inside = node >= 0
    follows = inside & ~work.first & (np.r_[-1, node[:-1]] == node)
    return replace(
        model.without_full_queue(spans.low, spans.high),
        anchor=np.where(inside, spans.high[node], model.anchor),
        latency=np.where(inside, 0, model.latency),
        gap=np.where(follows, model.typical.graph_gap, model.gap),
    )


def _counted(changed: Changed, columns: ReplayColumns, spans: _Spans) -> Changed:
    launches, count = columns.launches, len(columns.instances)
    captured = spans.index[spans.by_launch() >= 0]
    kernels = captured[launches.kind[captured] == KERNEL_LAUNCH]
    return replace(
        changed,
        graphs=np.bincount(columns.launch_instance[spans.index[spans.first]], minlength=count),
        in_graphs=np.bincount(columns.launch_instance[kernels], minlength=count),
    )


def _spans(columns: ReplayColumns, model: ThreadModel, phases: ThreadPhases) -> _Spans:
    """Return the runs of at least two launches of an instance without a wait, graph launch or input copy between them.

    The host must have written what is copied from its memory, so its work until then is not replaced by a graph.
    """
    launches, waits = columns.launches, model.waits
    index = _capturable(columns, model, phases)
    start, end = launches.start[index] - model.origin, launches.end[index] - model.origin
    part = _launched(columns, model)
    graphs = launches.start[part][launches.kind[part] == GRAPH_LAUNCH] - model.origin
    keys = (
        columns.launch_instance[index],
        np.searchsorted(waits.end[~waits.full_queue], start, side="right"),
        np.searchsorted(graphs, start),
        np.searchsorted(columns.input_copies, index),
    )
    first = begins(np.logical_or.reduce([np.diff(key) != 0 for key in keys])) if len(index) else index
    past = np.r_[first[1:], len(index)] if len(index) else index
    spans = _Spans(index=index, first=first, past=past, low=start[first], high=end[past - 1] if len(index) else end)
    return spans.keep(past - first > 1)


def _launched(columns: ReplayColumns, model: ThreadModel) -> slice:
    """Return the launches that start in a model's window, its last moment included."""
    return slice(*launches_within(columns, model.thread, model.origin, model.origin + int(model.knots[-1]) + 1))


def _capturable(columns: ReplayColumns, model: ThreadModel, phases: ThreadPhases) -> Ints:
    """Return the indices of the launches in phases that a graph can hold: no wait of the host, no copy from it."""
    launches, waits = columns.launches, model.waits
    part = _launched(columns, model)
    kind = launches.kind[part]
    index = np.flatnonzero((kind == KERNEL_LAUNCH) | (kind == MEMORY_LAUNCH)) + part.start
    index = index[~np.isin(index, columns.input_copies)]
    start, end = launches.start[index] - model.origin, launches.end[index] - model.origin
    instance = columns.launch_instance[index]
    label = np.where(instance >= 0, columns.instances.label[np.maximum(instance, 0)], -1)
    keep = phases.known[label] & (end <= model.knots[-1])
    # an engine's graphs hold its forward pass, which it marks; it samples and schedules between the marks
    marked = columns.instances.cycle[np.maximum(instance, 0)]
    keep &= ~marked | (launches.start[index] < columns.instances.mark_end[np.maximum(instance, 0)])
    wait_start, wait_end = waits.start[~waits.full_queue], waits.end[~waits.full_queue]
    if len(wait_end):
        following = np.searchsorted(wait_end, start, side="right")
        at = np.minimum(following, len(wait_end) - 1)
        keep &= (following == len(wait_end)) | (end <= wait_start[at])
    return index[keep]


def _breaks(columns: ReplayColumns, model: ThreadModel) -> Ints:
    """Return for each instance the number of waits between its first and its last kernel launch."""
    launches, count = columns.launches, len(columns.instances)
    part = _launched(columns, model)
    kernel = np.flatnonzero(launches.kind[part] == KERNEL_LAUNCH) + part.start
    instance, start = columns.launch_instance[kernel], launches.start[kernel] - model.origin
    inside = (instance >= 0) & (start < model.knots[-1])
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(first, instance[inside], start[inside])
    np.maximum.at(last, instance[inside], start[inside])
    waits = model.waits.start[~model.waits.full_queue]
    return np.maximum(np.searchsorted(waits, last) - np.searchsorted(waits, first), 0)
