"""What is the same in every replay of one model: computed once, as the verdicts replay each model many times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.interpolation import Interpolation
from taxbreak_nsys.arrays.intervals import Flags, Floats, Ints, begins
from taxbreak_nsys.replay.followers import Followers
from taxbreak_nsys.replay.waits import Waits
from taxbreak_nsys.replay.work import NEVER, Work

NOT_BINDING = -1e9
"""A time before all others, small enough that float sums with it stay exact to the nanosecond."""


@dataclass(frozen=True)
class Queue:
    """The device work of the items under a scenario, ns.

    `length` is the time that an item takes. An item ends `queued` after the end of the work that was on its lane at
    the start of its segment, and no earlier than `by_clock`, when the slower rank that it waits for has arrived.
    """

    length: Floats
    queued: Floats
    by_clock: Floats


@dataclass(frozen=True)
class Steps:
    """The steps from wait to wait, as lists for a loop: groups in the order of their segments, needs by wait.

    `previous` has the end of the work before the first item of each lane: (lane, ns).
    """

    lane: list[int]
    segment: list[int]
    previous: list[tuple[int, float]]
    need_wait: list[int]
    need_lag: list[int]
    need_group: list[int]
    need_segment: list[int]
    floor: list[int]


class FixedParts:
    """The places of a model's moments among its knots, and the groups of its items.

    A segment lies between two waits of the host; `segment` has each item's. A group is a run of items of one lane and
    segment: `group` has each item's, `first` and `last` the items at its ends. `by_segment` orders the groups by
    segment.
    """

    def __init__(self, knots: Ints, waits: Waits, work: Work, anchor: Ints, gap: Ints, followers: Followers) -> None:
        """Find the places and groups."""
        self._waits, self._work, self._gap, self._followers = waits, work, gap, followers
        self.lengths = np.diff(knots)
        self.anchor = Interpolation(anchor, knots)
        self.wait_start, self.wait_end = Interpolation(waits.start, knots), Interpolation(waits.end, knots)
        self.segment = segment = np.searchsorted(waits.end, anchor, side="right")
        self.first = self.group = self.last = segment
        if len(segment):
            self.first = begins((np.diff(work.lane) != 0) | (np.diff(segment) != 0))
            self.group = np.zeros(len(segment), np.int64)
            self.group[self.first[1:]] = 1
            self.group = np.cumsum(self.group)
            self.last = np.append(self.first[1:] - 1, len(segment) - 1)
        self.by_segment = np.argsort(segment[self.last], kind="stable")

    @cached_property
    def steps(self) -> Steps:
        """The steps from wait to wait."""
        waits, work, need = self._waits, self._work, self._waits.need_item
        last, place = self.last[self.by_segment], np.argsort(self.by_segment)
        previous = work.previous_end[work.first].astype(np.float64)
        return Steps(
            lane=work.lane[last].tolist(),
            segment=self.segment[last].tolist(),
            previous=list(zip(work.lane[work.first].tolist(), previous.tolist(), strict=True)),
            need_wait=waits.need_wait.tolist(),
            need_lag=waits.need_lag.tolist(),
            need_group=place[self.group[need]].tolist() if len(need) else [],
            need_segment=self.segment[need].tolist(),
            floor=waits.floor.tolist(),
        )

    @cached_property
    def follows(self) -> Flags | None:
        """A flag for each item: whether it is a follower; None if no item is."""
        return self._followers.flags(len(self.segment)) if len(self._followers.item) else None

    @cached_property
    def measured_queue(self) -> Queue:
        """The device work as measured."""
        return self._queue(np.ones(len(self.segment)))

    def queue(self, scale: Floats) -> Queue:
        """Return the device work with each item's work multiplied by `scale`."""
        return self.measured_queue if (scale == 1).all() else self._queue(scale)

    def _queue(self, scale: Floats) -> Queue:
        work = self._work
        length = work.busy * scale + (work.end - work.start - work.busy)
        if not len(length):
            return Queue(length, length, length)
        remaining = work.busy_after * scale + (work.end - work.met - work.busy_after)
        # -1, before all times of the model: the item waits for no rank
        met_end = np.where(work.met > NEVER, work.met + remaining, -1.0)
        gap, taken = self._gap, length
        # followers are placed at the end: here their lane continues as if they did not exist
        if self.follows is not None:
            gap, taken = np.where(self.follows, 0, gap), np.where(self.follows, 0.0, length)
            met_end = np.where(self.follows, NOT_BINDING, met_end)
        # end_j = max(ready_j, end_(j-1) + gap_j) + length_j becomes a running maximum after subtracting the running
        # sum of gap and length
        total = np.cumsum(gap + taken)
        queued = total - np.append(0.0, total)[self.first][self.group]
        return Queue(length, queued, self.running_maximum(met_end - queued) + queued)

    def running_maximum(self, values: Floats) -> Floats:
        """Return the running maximum within each group."""
        low, high = np.minimum.reduceat(values, self.first), np.maximum.reduceat(values, self.first)
        lift = np.append(0.0, np.cumsum(high[:-1] - low[1:] + 1.0))[self.group]
        return np.maximum.accumulate(values + lift) - lift
