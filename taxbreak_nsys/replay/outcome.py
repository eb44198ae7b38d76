"""Times of the phase instances of a replayed thread: wall, completion, busy streams, idle devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Floats, Ints, union
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.replay.graphs import Changed
from taxbreak_nsys.replay.simulate import Replayed
from taxbreak_nsys.replay.thread_model import ThreadModel


@dataclass(frozen=True)
class Outcome:
    """A replay's outcome: arrays over the instances of one stretch (ns), and host time by label code and state.

    `wall` is host time. `completion` is the time by which an instance delays the completion of the thread's work on
    host and device: its wall time and the device work for it afterwards, without time covered by the work of earlier
    instances. So the completions of a thread's instances never count a moment twice. `busy` (instances, streams) is the
    device work.
    """

    wall: Ints
    completion: Ints
    busy: Floats
    layer_time: Floats
    graphs: Ints
    in_graphs: Ints
    breaks: Ints
    left_out: Ints

    @property
    def busiest(self) -> Floats:
        """The time that the busiest stream works for each instance, ns."""
        return self.busy.max(axis=1, initial=0.0)


def outcome(columns: ReplayColumns, changed: Changed, replayed: Replayed, numbers: range) -> Outcome:
    """Return the outcome of the replay of one stretch; `numbers` are the numbers of its instances."""
    instances, intervals, model = columns.instances, columns.intervals, changed.model
    marked = np.flatnonzero(model.piece_interval >= 0)
    interval = model.piece_interval[marked]
    time = np.diff(model.knots)[marked] * changed.host[marked] * ~changed.in_graph[marked]
    cell = instances.label[intervals.instance[interval]] * len(STATES) + intervals.state[interval]
    layer_time = np.bincount(cell, weights=time, minlength=len(instances.labels) * len(STATES)).astype(np.float64)

    pieces = replayed_pieces(instances, model, replayed, numbers)
    wall = np.zeros(len(numbers), np.int64)
    np.add.at(wall, pieces.instance, pieces.end - pieces.begin)
    of_stretch = slice(numbers.start, numbers.stop)
    return Outcome(
        wall=wall,
        completion=_completion(columns, model, replayed, pieces, len(numbers)),
        busy=_stream_busy(columns, changed, numbers),
        layer_time=layer_time.reshape(-1, len(STATES)),
        graphs=changed.graphs[of_stretch].copy(),
        in_graphs=changed.in_graphs[of_stretch].copy(),
        breaks=changed.breaks[of_stretch].copy(),
        left_out=changed.left_out[of_stretch].copy(),
    )


def instances_within(instances: Instances, model: ThreadModel) -> range:
    """Return the numbers of the thread's instances in the window of a model."""
    part = thread_slice(instances.thread, model.thread)
    low, high = model.origin, model.origin + int(model.knots[-1])
    past = int(np.searchsorted(instances.start[part], high)) + part.start
    first = part.start + int(np.searchsorted(instances.start[part], low))
    # a window may lie in the middle of an instance that is too long to be replayed as a whole
    while first > part.start and instances.end[first - 1] > low:
        first -= 1
    return range(first, past)


@dataclass(frozen=True)
class Pieces:
    """The pieces of a stretch's instances (0 is its first): measured `start`, replayed `begin` and `end`, ns."""

    instance: Ints
    start: Ints
    begin: Ints
    end: Ints


def replayed_pieces(instances: Instances, model: ThreadModel, replayed: Replayed, numbers: range) -> Pieces:
    """Return the pieces of the instances `numbers` in a model's window, in whole ns since its origin."""
    part = thread_slice(instances.piece_thread, model.thread)
    until = int(model.knots[-1])
    start = instances.piece_start[part] - model.origin
    end = instances.piece_end[part] - model.origin
    # helper threads have pieces of the instance as well, but their time does not belong to its wall time
    inside = (end > 0) & (start < until) & instances.host_piece[part]
    instance = instances.piece_instance[part]
    inside &= (instance >= numbers.start) & (instance < numbers.stop)
    start, end = np.clip(start[inside], 0, until), np.clip(end[inside], 0, until)
    begin, finish = (np.rint(replayed.at(moment)).astype(np.int64) for moment in (start, end))
    return Pieces(instance[inside] - numbers.start, start, begin, finish)


def _completion(columns: ReplayColumns, model: ThreadModel, replayed: Replayed, pieces: Pieces, instances: int) -> Ints:
    """Return the time by which each instance delays the completion of the thread's work, ns.

    Work belongs to the piece that contains its launch. At a piece's completion the work of all pieces up to it is done.
    """
    work, count = model.work, len(pieces.start)
    done = np.zeros(len(work), np.int64)
    np.maximum.at(done, model.ops.item, np.rint(replayed.op_end).astype(np.int64))
    launched = np.searchsorted(pieces.start, work.called, side="right") - 1
    instance = columns.launch_instance[work.launch]
    inside = (instance >= 0) & (launched >= 0) & work.own
    # column 0: when the piece and its work are done; column 1: when the work launched after the piece is done
    complete = np.zeros((count, 2), np.int64)
    complete[:, 0] = pieces.end
    np.maximum.at(complete[:, 0], launched[inside], done[inside])
    between = (instance < 0) & (launched >= 0) & work.own
    np.maximum.at(complete[:, 1], launched[between], done[between])
    reached = np.maximum.accumulate(complete.ravel())
    before = np.r_[np.int64(0), reached[1:-1:2]] if count else reached
    result = np.zeros(instances, np.int64)
    np.add.at(result, pieces.instance, reached[::2] - np.maximum(pieces.begin, before))
    return result


def _stream_busy(columns: ReplayColumns, changed: Changed, numbers: range) -> Floats:
    """Return the time that each stream works for each instance: (instances, streams), ns."""
    work = changed.model.work
    streams = int(work.lane.max()) + 1 if len(work) else 0
    instance = columns.launch_instance[work.launch] - numbers.start
    own = work.own & (instance >= 0) & (instance < len(numbers))
    cell = instance[own] * streams + work.lane[own]
    weights = (work.busy * changed.scale)[own]
    busy = np.bincount(cell, weights=weights, minlength=len(numbers) * streams).astype(np.float64)
    return busy.reshape(len(numbers), streams)


def idle_ns(
    columns: ReplayColumns, devices: list[frozenset[int]], model: ThreadModel, replayed: Replayed, numbers: range
) -> Ints:
    """Return for each instance of a stretch the time of its wall in which none of its devices is busy, ns.

    Operations outside the model (of other threads and processes) move with the host time of this thread at that moment.
    `devices` are the devices of each instance of the report, `numbers` the numbers of the stretch's instances.
    """
    pieces, ops = replayed_pieces(columns.instances, model, replayed, numbers), columns.ops
    begun, ended = replayed.at(ops.start - model.origin), replayed.at(ops.end - model.origin)
    begun[model.ops.op], ended[model.ops.op] = replayed.op_start, replayed.op_end
    start, end = np.rint(begun).astype(np.int64) + columns.comm_wait, np.rint(ended).astype(np.int64)
    idle = np.zeros(len(numbers), np.int64)
    np.add.at(idle, pieces.instance, pieces.end - pieces.begin)
    sets = [devices[numbers.start + instance] for instance in pieces.instance.tolist()]
    for used in set(sets):
        of_set = np.array([s == used for s in sets], bool)
        on = np.isin(ops.device_global, sorted(used))
        covered = Coverage.of(union(start[on], end[on])).within(pieces.begin[of_set], pieces.end[of_set])
        np.subtract.at(idle, pieces.instance[of_set], covered)
    return idle
