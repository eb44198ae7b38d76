"""Times of the phase instances of a replayed thread: wall, completion, busy streams, idle devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Floats, Ints, begins, union
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.replay.graphs import Changed
from taxbreak_nsys.replay.simulate import Replayed
from taxbreak_nsys.replay.thread_model import ThreadModel


@dataclass(frozen=True)
class Outcome:
    """A replay's outcome: arrays over the instances of one stretch (ns).

    `wall` is host time. `completion` is the time by which an instance delays the completion of the thread's work on
    host and device: its wall time and the device work for it afterwards, without time covered by the work of earlier
    instances. So the completions of a thread's instances never count a moment twice. `busy` (instances, streams) is the
    device work.
    """

    wall: Ints
    completion: Ints
    busy: Floats
    graphs: Ints
    in_graphs: Ints
    breaks: Ints
    left_out: Ints


class StretchParts:
    """The pieces of a stretch's instances, and which device work belongs to which: the same under every scenario.

    `numbers` are the numbers of the stretch's instances. Their pieces lie in the order of time: `instance` (0 is the
    stretch's first), measured `start` and `end` (ns since the model's origin).
    """

    def __init__(self, columns: ReplayColumns, model: ThreadModel) -> None:
        """Find the pieces of the instances in a model's window, and the work that was launched in each."""
        self.numbers = numbers = _instances_within(columns.instances, model)
        self.instance, self.start, self.end = _pieces(columns.instances, model, numbers)
        work = model.work
        launched = np.searchsorted(self.start, work.called, side="right") - 1
        instance = columns.launch_instance[work.launch]
        own = work.own & (launched >= 0)
        self._inside, self._between = np.flatnonzero(own & (instance >= 0)), np.flatnonzero(own & (instance < 0))
        self._inside_piece, self._between_piece = launched[self._inside], launched[self._between]
        self._first_op = begins(np.diff(model.ops.item) != 0) if len(work) else model.ops.item
        self._streams = int(work.lane.max(initial=-1)) + 1
        instance = instance - numbers.start
        self._counted = np.flatnonzero(work.own & (instance >= 0) & (instance < len(numbers)))
        self._stream_cell = instance[self._counted] * self._streams + work.lane[self._counted]

    def outcome(self, changed: Changed, replayed: Replayed) -> Outcome:
        """Return the outcome of the replay of this stretch."""
        begin, end = self.replayed_pieces(replayed)
        of_stretch = slice(self.numbers.start, self.numbers.stop)
        return Outcome(
            wall=self._by_instance(end - begin),
            completion=self._completion(replayed, begin, end),
            busy=self._stream_busy(changed),
            graphs=changed.graphs[of_stretch].copy(),
            in_graphs=changed.in_graphs[of_stretch].copy(),
            breaks=changed.breaks[of_stretch].copy(),
            left_out=changed.left_out[of_stretch].copy(),
        )

    def replayed_pieces(self, replayed: Replayed) -> tuple[Ints, Ints]:
        """Return the replayed (begin, end) of the pieces, in whole ns since the model's origin."""
        times = np.rint(replayed.at(np.append(self.start, self.end))).astype(np.int64)
        return times[: len(self.start)], times[len(self.start) :]

    def _by_instance(self, of_piece: Ints) -> Ints:
        result = np.zeros(len(self.numbers), np.int64)
        np.add.at(result, self.instance, of_piece)
        return result

    def _completion(self, replayed: Replayed, begin: Ints, end: Ints) -> Ints:
        """Return the time by which each instance delays the completion of the thread's work, ns.

        Work belongs to the piece that contains its launch. At a piece's completion the work of all pieces up to it is
        done.
        """
        done = self._first_op
        if len(done):
            done = np.rint(np.maximum.reduceat(replayed.op_end, self._first_op)).astype(np.int64)
            done = np.maximum(done, 0)
        # column 0: when the piece and its work are done; column 1: when the work launched after the piece is done
        complete = np.zeros((len(begin), 2), np.int64)
        complete[:, 0] = end
        np.maximum.at(complete[:, 0], self._inside_piece, done[self._inside])
        np.maximum.at(complete[:, 1], self._between_piece, done[self._between])
        reached = np.maximum.accumulate(complete.ravel())
        before = np.append(0, reached[1:-1:2]) if len(begin) else reached
        return self._by_instance(reached[::2] - np.maximum(begin, before))

    def _stream_busy(self, changed: Changed) -> Floats:
        """Return the time that each stream works for each instance: (instances, streams), ns."""
        weights = (changed.model.work.busy * changed.scale)[self._counted]
        cells = len(self.numbers) * self._streams
        busy = np.bincount(self._stream_cell, weights=weights, minlength=cells).astype(np.float64)
        return busy.reshape(len(self.numbers), self._streams)

    def idle_ns(self, columns: ReplayColumns, devices: list[frozenset[int]], replayed: Replayed) -> Ints:
        """Return for each instance the time of its wall in which none of its devices is busy, ns.

        Operations outside the model (of other threads and processes) move with the host time of this thread at that
        moment. `devices` are the devices of each instance of the report.
        """
        (begin, finish), ops, model = self.replayed_pieces(replayed), columns.ops, replayed.model
        begun, ended = replayed.at(ops.start - model.origin), replayed.at(ops.end - model.origin)
        begun[model.ops.op], ended[model.ops.op] = replayed.op_start, replayed.op_end
        start, end = np.rint(begun).astype(np.int64) + columns.comm_wait, np.rint(ended).astype(np.int64)
        idle = self._by_instance(finish - begin)
        sets = [devices[self.numbers.start + instance] for instance in self.instance.tolist()]
        for used in set(sets):
            of_set = np.array([s == used for s in sets], bool)
            on = np.isin(ops.device_global, sorted(used))
            covered = Coverage.of(union(start[on], end[on])).within(begin[of_set], finish[of_set])
            np.subtract.at(idle, self.instance[of_set], covered)
        return idle


def layer_time(columns: ReplayColumns, changed: Changed) -> Floats:
    """Return the host time of a scenario by label code and state, ns; what became graphs does not count."""
    model, labels = changed.model, len(columns.instances.labels)
    marked = np.flatnonzero(model.piece_interval >= 0)
    time = np.diff(model.knots)[marked] * changed.host[marked] * ~changed.in_graph[marked]
    cell = columns.interval_cell[model.piece_interval[marked]]
    sums = np.bincount(cell, weights=time, minlength=labels * len(STATES)).astype(np.float64)
    return sums.reshape(-1, len(STATES))


def _instances_within(instances: Instances, model: ThreadModel) -> range:
    """Return the numbers of the thread's instances in the window of a model."""
    part = thread_slice(instances.thread, model.thread)
    low, high = model.origin, model.origin + int(model.knots[-1])
    past = int(np.searchsorted(instances.start[part], high)) + part.start
    first = part.start + int(np.searchsorted(instances.start[part], low))
    # a window may lie in the middle of an instance that is too long to be replayed as a whole
    while first > part.start and instances.end[first - 1] > low:
        first -= 1
    return range(first, past)


def _pieces(instances: Instances, model: ThreadModel, numbers: range) -> tuple[Ints, Ints, Ints]:
    """Return (instance, start, end) of the pieces of the instances `numbers` in a model's window."""
    part = thread_slice(instances.piece_thread, model.thread)
    until = int(model.knots[-1])
    start = instances.piece_start[part] - model.origin
    end = instances.piece_end[part] - model.origin
    # helper threads have pieces of the instance as well, but their time does not belong to its wall time
    inside = (end > 0) & (start < until) & instances.host_piece[part]
    instance = instances.piece_instance[part]
    inside &= (instance >= numbers.start) & (instance < numbers.stop)
    which = np.flatnonzero(inside)
    return instance[which] - numbers.start, np.maximum(start[which], 0), np.minimum(end[which], until)
