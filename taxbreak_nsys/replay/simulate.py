"""Replay of one thread's model: the time of every event if host time and device work take longer or shorter.

Between two waits the host only moves forward and each lane only queues. So all times of a segment between waits follow
by maxima and sums from two numbers, the host's time and the lane's time at its start. These are computed over whole
columns; one short step per wait and lane remains, in the order of time. What no scenario changes is in `fixed_parts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.interpolation import Interpolation
from taxbreak_nsys.arrays.intervals import Floats, Ints
from taxbreak_nsys.replay.fixed_parts import NOT_BINDING, Queue
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.work import NEVER


@dataclass(frozen=True)
class Replayed:
    """The times of a replay, ns since the model's origin.

    `own` is the changed host time before each knot, `before` that at the start of each segment, and `host` the replayed
    time of each segment's start. `item_start` is the start of each item, whose work took `scale` times as long. The
    times of knots and operations are computed from these when they are asked for: few of them are needed for the walls.
    """

    model: ThreadModel
    own: Floats
    before: Floats
    host: Floats
    scale: Floats
    item_start: Floats

    @cached_property
    def times(self) -> Floats:
        """The replayed time of each knot of the model."""
        return self._knot_times(np.arange(len(self.own)))

    @cached_property
    def op_start(self) -> Floats:
        """The replayed start of each operation of the model."""
        ops = self.model.ops
        return self.item_start[ops.item] + ops.busy_before * self.scale[ops.item] + ops.fixed_before

    @cached_property
    def op_end(self) -> Floats:
        """The replayed end of each operation of the model."""
        ops = self.model.ops
        return self.item_start[ops.item] + ops.busy_until * self.scale[ops.item] + ops.fixed_until

    def at(self, moments: Ints) -> Floats:
        """Return the replayed times of measured times; times outside the model's span move with its ends."""
        knots = self.model.knots
        inside = np.minimum(np.maximum(moments, knots[0]), knots[-1])
        return Interpolation(inside, knots).values(self._knot_times) + (moments - inside)

    def _knot_times(self, index: Ints) -> Floats:
        """Return the replayed times of knots; inside a wait, a knot keeps its distance from the wait's end if possible.

        `index` are the numbers of the knots.
        """
        waits, times = self.model.waits, self.own[index]
        if not len(waits):
            return times
        knots = self.model.knots[index]
        segment = np.searchsorted(waits.end, knots, side="right")
        inside = np.flatnonzero((segment < len(waits)) & (knots > waits.start[np.minimum(segment, len(waits) - 1)]))
        wait = segment[inside]
        times[inside] = self.model.fixed.wait_start.values(self.own.__getitem__)[wait]
        times = self.host[segment] + times - self.before[segment]
        from_end = waits.end[wait] - knots[inside]
        times[inside] = np.maximum(times[inside], self.host[wait + 1] - from_end)
        return times


def replay(model: ThreadModel, host: Floats, scale: Floats) -> Replayed:
    """Replay a thread with each piece of host time multiplied by `host` and the device work of each item by `scale`.

    The model alone decides the length of waits; `host` has no effect there. With factors of 1 the result is every
    measured time exactly.
    """
    fixed, followers = model.fixed, model.followers
    own = np.zeros(len(model.knots))
    np.cumsum(host * fixed.lengths, out=own[1:])
    before = np.append(0.0, fixed.wait_end.values(own.__getitem__))
    until_wait = fixed.wait_start.values(own.__getitem__) - before[:-1]
    queue = fixed.queue(scale)
    reached = fixed.anchor.values(own.__getitem__) - before[fixed.segment]
    by_host = _by_host(model, reached, queue)
    stands = _stand(model, until_wait, by_host, queue)

    item_end = np.maximum(stands.host[fixed.segment] + by_host, stands.reach[fixed.group] + queue.queued)
    item_end = np.maximum(item_end, queue.by_clock)
    item_start = item_end - queue.length
    if len(followers.item):
        launched = stands.host[fixed.segment[followers.item]] + reached[followers.item]
        item_start[followers.item] = np.maximum(launched, item_end[followers.leader] + followers.gap)
    return Replayed(model=model, own=own, before=before, host=stands.host, scale=scale, item_start=item_start)


def _by_host(model: ThreadModel, reached: Floats, queue: Queue) -> Floats:
    """Return the end of each item after the host's time at the start of its segment, if its lane was free then.

    `reached` is the host's time from there to the item's anchor.
    """
    fixed = model.fixed
    if not len(reached):
        return reached
    ready = reached + model.latency + queue.length
    if fixed.follows is not None:
        ready = np.where(fixed.follows, NOT_BINDING, ready)
    return fixed.running_maximum(ready - queue.queued) + queue.queued


@dataclass(frozen=True)
class _Stands:
    """The host's time at the start of each segment, and for each group the end of its lane's earlier work."""

    host: Floats
    reach: Floats


def _stand(model: ThreadModel, until_wait: Floats, item_by_host: Floats, queue: Queue) -> _Stands:
    """Return the times at the start of all segments: a loop over waits, as each depends on the one before."""
    fixed, work = model.fixed, model.work
    order = fixed.by_segment
    last, need = fixed.last[order], model.waits.need_item
    steps = fixed.steps
    last_by_host, last_by_queue = item_by_host[last].tolist(), queue.queued[last].tolist()
    last_by_clock = queue.by_clock[last].tolist()
    need_by_host, need_by_queue = item_by_host[need].tolist(), queue.queued[need].tolist()
    need_by_clock = queue.by_clock[need].tolist()
    lane_end = [float(NEVER)] * (int(work.lane.max(initial=-1)) + 1)
    for lane, previous in steps.previous:
        lane_end[lane] = previous
    lane_of, lag, need_segment, need_group = steps.lane, steps.need_lag, steps.need_segment, steps.need_group
    # what comes after the last wait ends both loops
    segment_of, need_wait = [*steps.segment, len(steps.floor) + 1], [*steps.need_wait, -1]

    # comparisons instead of max(), which takes longer than all other arithmetic here
    host, reach = [0.0], []
    group, pair, moment = 0, 0, 0.0
    for k, spent in enumerate([*(until_wait + steps.floor).tolist(), 0.0]):
        while segment_of[group] == k:
            lane = lane_of[group]
            lane_before = lane_end[lane]
            reach.append(lane_before)
            end, queued, clock = moment + last_by_host[group], lane_before + last_by_queue[group], last_by_clock[group]
            if queued > end:
                end = queued
            lane_end[lane] = clock if clock > end else end
            group += 1
        moment += spent
        while need_wait[pair] == k:
            end, queued = host[need_segment[pair]] + need_by_host[pair], reach[need_group[pair]] + need_by_queue[pair]
            if queued > end:
                end = queued
            if need_by_clock[pair] > end:
                end = need_by_clock[pair]
            end += lag[pair]
            if end > moment:
                moment = end
            pair += 1
        host.append(moment)
    del host[-1]  # no wait ends after the last segment
    by_group = np.empty(len(last))
    by_group[order] = reach
    return _Stands(np.array(host), by_group)
