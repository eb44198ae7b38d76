"""The model of one thread: its host time, the device work that it queued, and the waits of the host for this work.

It is built once from the columns of a report; `simulate.py` replays it. docs/whatif.md describes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints, count_at_or_before, percentile
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.trace_columns import runs, thread_slice
from taxbreak_nsys.replay.fixed_parts import FixedParts
from taxbreak_nsys.replay.followers import Followers, find_followers, wait_for_leaders
from taxbreak_nsys.replay.typical_delays import Typical
from taxbreak_nsys.replay.waits import Waits, find_waits
from taxbreak_nsys.replay.work import NEVER, OpIndex, Work, WorkOps, collect


@dataclass(frozen=True)
class ThreadModel:
    """One thread's sequence; times are ns since `origin`.

    `knots` cut the time: piece k lies between knots k and k+1 and belongs to the host interval
    `piece_interval[k]` (an index into `columns.intervals`, -1 outside phases). An item of the work starts at
    the later of two times: `anchor + latency` on the host's clock, and `gap` after the end of the previous item on its
    lane. A follower starts at the later of its anchor and `followers.gap` after its leader's end.
    """

    thread: int
    origin: int
    knots: Ints
    piece_interval: Ints
    waits: Waits
    work: Work
    ops: WorkOps
    anchor: Ints
    latency: Ints
    gap: Ints
    host_bound: Flags
    followers: Followers
    typical: Typical

    @cached_property
    def fixed(self) -> FixedParts:
        """What is the same in every replay of this model."""
        return FixedParts(
            knots=self.knots,
            waits=self.waits,
            work=self.work,
            anchor=self.anchor,
            gap=self.gap,
            followers=self.followers,
        )

    def loosened(self) -> ThreadModel:
        """Return the model with typical delays in place of the measured ones, to test the model itself."""
        latency = np.full(len(self.work), self.typical.latency)
        if self.host_bound.any():
            latency[self.host_bound] = percentile(self.latency[self.host_bound], 50) or 0
        lag = self.waits.need_lag
        usual = np.full(len(lag), percentile(lag, 50) or 0)
        gap = np.full(len(self.work), self.typical.gap)
        return replace(self, latency=latency, gap=gap, waits=replace(self.waits, need_lag=usual))

    def cut_at(self, low: Ints, high: Ints) -> tuple[ThreadModel, Ints]:
        """Return the model with knots at the ends of disjoint sorted spans too, and the span of each piece (-1: none).

        The model's times stay the same.
        """
        cuts = np.sort(np.append(low, high), kind="stable")
        cuts = cuts[_lasts_of_equals(cuts)]
        at = np.searchsorted(self.knots, cuts)
        new = self.knots[at] != cuts
        at, cuts = at[new], cuts[new]
        knots = np.insert(self.knots, at, cuts)
        piece_interval = np.insert(self.piece_interval, at, self.piece_interval[at - 1])
        span = count_at_or_before(low, knots[:-1]) - 1
        if len(high):
            span = np.where(knots[:-1] < high[np.maximum(span, 0)], span, -1)
        return replace(self, knots=knots, piece_interval=piece_interval), span

    def without_full_queue(self, low: Ints, high: Ints) -> ThreadModel:
        """Return the model without the waits for a full queue inside disjoint sorted spans."""
        waits = self.waits
        if not len(low):
            return self
        at = np.searchsorted(low, waits.start, side="right") - 1
        removed = waits.full_queue & (at >= 0) & (waits.end <= high[np.maximum(at, 0)])
        return replace(self, waits=waits.without(removed))


def build(
    columns: ReplayColumns, index: OpIndex, thread: int, typical: Typical, window: tuple[int, int] | None = None
) -> ThreadModel:
    """Return the model of one thread, from its first phase instance to its last or within `window` (ns)."""
    intervals = columns.intervals
    part = thread_slice(intervals.thread, thread)
    if window is None:
        low, high = int(intervals.start[part.start]), int(intervals.end[part.stop - 1])
    else:
        low, high = window
        first = int(np.searchsorted(intervals.end[part], low, side="right"))
        past = int(np.searchsorted(intervals.start[part], high, side="left"))
        part = slice(part.start + first, part.start + past)
    starts = np.maximum(intervals.start[part], low) - low
    ends = np.minimum(intervals.end[part], high) - low
    moments = np.zeros(2 * len(starts) + 2, np.int64)
    moments[1:-1:2], moments[2:-1:2], moments[-1] = starts, ends, high - low
    lasts = _lasts_of_equals(moments)
    knots = moments[lasts]
    # every second moment is a start, so the number of starts up to a knot follows from its place
    at = (lasts[:-1] + 1) // 2 - 1
    inside = (at >= 0) & (knots[:-1] < ends[np.maximum(at, 0)])
    piece_interval = np.where(inside, at + part.start, -1)

    work, ops = collect(columns, index, thread, low, high)
    # an item was held back either by the host (True) or by the previous item on its stream
    host_bound = work.called + typical.latency >= work.previous_end + typical.gap
    followers = find_followers(work, host_bound, typical.latency)
    waits = wait_for_leaders(find_waits(columns, thread, low, high, work, host_bound), work, followers)
    anchor = _anchor(work, waits, host_bound)
    delay = work.start - anchor
    since = np.where(work.previous_end > NEVER, work.start - work.previous_end, 0)
    return ThreadModel(
        thread=thread,
        origin=low,
        knots=knots,
        piece_interval=piece_interval,
        waits=waits,
        work=work,
        ops=ops,
        anchor=anchor,
        # both reproduce the measured start: the binding delay is as measured, the other at most as measured
        latency=np.where(host_bound, delay, np.minimum(delay, typical.latency)),
        gap=np.where(host_bound, np.minimum(since, typical.gap), since),
        host_bound=host_bound,
        followers=followers,
        typical=typical,
    )


def _lasts_of_equals(rising: Ints) -> Ints:
    """Return the index of the last of each run of equal values in a sorted array."""
    last = np.ones(len(rising), bool)
    last[:-1] = rising[1:] != rising[:-1]
    return np.flatnonzero(last)


def _anchor(work: Work, waits: Waits, host_bound: Flags) -> Ints:
    """Return the host time that each item follows, ns since the model's origin.

    It is the start of the item's call. If the host held the item back, it is the end of the call or the item's start,
    whichever is first, so that a faster call moves the item forward. A time inside a wait counts as the start of the
    wait, and anchors on one lane never decrease.
    """
    reached = np.maximum(np.minimum(work.start, work.returned), work.called)
    anchor = np.where(work.own & host_bound, reached, work.called)
    if len(waits):
        k = np.searchsorted(waits.end, anchor, side="right")
        start = waits.start[np.minimum(k, len(waits) - 1)]
        anchor = np.where(k < len(waits), np.minimum(anchor, start), anchor)
    for low, high in runs(work.lane):
        anchor[low:high] = np.maximum.accumulate(anchor[low:high])
    return anchor
