"""Replay of one thread's model: the time of every event if host time and device work take longer or shorter.

Between two waits the host only moves forward and each lane only queues. So all times of a segment between waits follow
by maxima and sums from two numbers, the host's time and the lane's time at its start. These are computed over whole
columns; one short step per wait and lane remains, in the order of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Floats, Ints, begins
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.work import NEVER

NOT_BINDING = -1e9
"""A time before all others, small enough that float sums with it stay exact to the nanosecond."""


@dataclass(frozen=True)
class Replayed:
    """The times of a replay, ns since the model's origin: `knots` as measured, `times` the same knots replayed."""

    knots: Ints
    times: Floats
    op_start: Floats
    op_end: Floats

    def at(self, moments: Ints) -> Floats:
        """Return the replayed times of measured times; times outside the model's span move with its ends."""
        inside = np.clip(moments, self.knots[0], self.knots[-1])
        return np.interp(inside, self.knots, self.times) + (moments - inside)


def replay(model: ThreadModel, host: Floats, scale: Floats) -> Replayed:
    """Replay a thread with each piece of host time multiplied by `host` and the device work of each item by `scale`.

    The model alone decides the length of waits; `host` has no effect there. With factors of 1 the result is every
    measured time exactly.
    """
    waits, work = model.waits, model.work
    own = np.r_[0.0, np.cumsum(host * np.diff(model.knots))]
    before = np.r_[0.0, np.interp(waits.end, model.knots, own)]
    until_wait = np.interp(waits.start, model.knots, own) - before[:-1]
    length = work.busy * scale + (work.end - work.start - work.busy)
    item = _chains(model, own, before, length, _met_end(model, scale))
    stands = _stand(model, until_wait, item)

    item_end = np.maximum(stands.host[item.segment] + item.by_host, stands.reach[item.group] + item.by_queue)
    item_end = np.maximum(item_end, item.by_clock)
    item_start = item_end - length
    followers = model.followers
    reached = np.interp(model.anchor[followers.item], model.knots, own) - before[item.segment[followers.item]]
    item_start[followers.item] = np.maximum(
        stands.host[item.segment[followers.item]] + reached, item_end[followers.leader] + followers.gap
    )
    ops = model.ops
    return Replayed(
        model.knots, _knot_times(model, own, before, stands.host),
        item_start[ops.item] + ops.busy_before * scale[ops.item] + ops.fixed_before,
        item_start[ops.item] + ops.busy_until * scale[ops.item] + ops.fixed_until,
    )  # fmt: skip


@dataclass(frozen=True)
class _Chains:
    """For each item its segment between waits, its group (neighbours of one lane and segment), and its end.

    An item ends at the latest of three times: `by_host` after the host's time at the start of the segment, `by_queue`
    after the end of the work that was on its lane at that time, and `by_clock`. `last` are the last items of the
    groups.
    """

    segment: Ints
    group: Ints
    by_host: Floats
    by_queue: Floats
    by_clock: Floats
    last: Ints


def _met_end(model: ThreadModel, scale: Floats) -> Floats:
    """Return the earliest end of each item: the slower rank it waits for arrives as measured; -1 for none."""
    work = model.work
    remaining = work.busy_after * scale + (work.end - work.met - work.busy_after)
    # -1, before all times of the model: the item waits for no rank
    return np.where(work.met > NEVER, work.met + remaining, -1.0)


def _chains(model: ThreadModel, own: Floats, before: Floats, length: Floats, met_end: Floats) -> _Chains:
    waits, work = model.waits, model.work
    segment = np.searchsorted(waits.end, model.anchor, side="right")
    if not len(segment):
        empty = np.empty(0)
        return _Chains(segment=segment, group=segment, by_host=empty, by_queue=empty, by_clock=empty, last=segment)
    at = begins((np.diff(work.lane) != 0) | (np.diff(segment) != 0))
    group = np.zeros(len(segment), np.int64)
    group[at[1:]] = 1
    group = np.cumsum(group)
    # followers are placed at the end: here their lane continues as if they did not exist
    follows = model.followers.flags(len(segment))
    gap, length = np.where(follows, 0, model.gap), np.where(follows, 0.0, length)
    # end_j = max(ready_j, end_(j-1) + gap_j) + length_j becomes a running maximum after subtracting the running
    # sum of gap and length
    total = np.cumsum(gap + length)
    queued = total - np.r_[0.0, total][at][group]
    ready = np.interp(model.anchor, model.knots, own) - before[segment] + model.latency + length
    ready, met_end = np.where(follows, NOT_BINDING, ready), np.where(follows, NOT_BINDING, met_end)
    by_host = _running_maximum(ready - queued, at, group) + queued
    by_clock = _running_maximum(met_end - queued, at, group) + queued
    return _Chains(
        segment=segment,
        group=group,
        by_host=by_host,
        by_queue=queued,
        by_clock=by_clock,
        last=np.r_[at[1:] - 1, len(segment) - 1],
    )


def _running_maximum(values: Floats, at: Ints, group: Ints) -> Floats:
    """Return the running maximum within each group; `at` are the first indices of the groups."""
    low, high = np.minimum.reduceat(values, at), np.maximum.reduceat(values, at)
    lift = np.r_[0.0, np.cumsum(high[:-1] - low[1:] + 1.0)][group]
    return np.maximum.accumulate(values + lift) - lift


@dataclass(frozen=True)
class _Stands:
    """The host's time at the start of each segment, and for each group the end of its lane's earlier work."""

    host: Floats
    reach: Floats


def _stand(model: ThreadModel, until_wait: Floats, item: _Chains) -> _Stands:
    """Return the times at the start of all segments: a loop over waits, as each depends on the one before."""
    waits, work = model.waits, model.work
    order = np.argsort(item.segment[item.last], kind="stable")
    last = item.last[order]
    lane_of, segment_of = work.lane[last].tolist(), item.segment[last].tolist()
    last_by_host, last_by_queue = item.by_host[last].tolist(), item.by_queue[last].tolist()
    last_by_clock = item.by_clock[last].tolist()
    lanes = int(work.lane.max()) + 1 if len(work) else 0
    lane_end = [float(NEVER)] * lanes
    for lane, previous in zip(work.lane[work.first].tolist(), work.previous_end[work.first].tolist(), strict=True):
        lane_end[lane] = float(previous)

    need = waits.need_item
    need_wait, lag = waits.need_wait.tolist(), waits.need_lag.tolist()
    need_group = np.argsort(order)[item.group[need]].tolist() if len(need) else []
    need_segment = item.segment[need].tolist()
    need_by_host, need_by_queue = item.by_host[need].tolist(), item.by_queue[need].tolist()
    need_by_clock = item.by_clock[need].tolist()

    host, reach = [0.0], []
    group, pair, groups, pairs = 0, 0, len(last), len(need)
    arrivals, floors = until_wait.tolist(), waits.floor.tolist()
    for k in range(len(waits) + 1):
        moment = host[k]
        while group < groups and segment_of[group] == k:
            lane = lane_of[group]
            lane_before = lane_end[lane]
            reach.append(lane_before)
            lane_end[lane] = max(moment + last_by_host[group], lane_before + last_by_queue[group], last_by_clock[group])
            group += 1
        if k == len(waits):
            break
        moment += arrivals[k] + floors[k]
        while pair < pairs and need_wait[pair] == k:
            by_host = host[need_segment[pair]] + need_by_host[pair]
            by_queue = reach[need_group[pair]] + need_by_queue[pair]
            moment = max(moment, by_host + lag[pair], by_queue + lag[pair], need_by_clock[pair] + lag[pair])
            pair += 1
        host.append(moment)
    by_group = np.empty(groups)
    by_group[order] = reach
    return _Stands(np.array(host), by_group)


def _knot_times(model: ThreadModel, own: Floats, before: Floats, host: Floats) -> Floats:
    """Return the replayed time of each knot; inside a wait it keeps its distance from the wait's end if possible."""
    waits, knots = model.waits, model.knots
    segment = np.searchsorted(waits.end, knots, side="right")
    if not len(waits):
        return own.copy()
    k = np.minimum(segment, len(waits) - 1)
    inside: Flags = (segment < len(waits)) & (knots > waits.start[k])
    reached = np.where(inside, waits.start[k], knots)
    times = host[segment] + np.interp(reached, knots, own) - before[segment]
    next_host = host[np.minimum(segment + 1, len(host) - 1)]
    return np.where(inside, np.maximum(times, next_host - (waits.end[k] - knots)), times)
