"""Device work that waited for an event of another stream. A report has no events, so they are inferred from times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.trace_columns import runs
from taxbreak_nsys.replay.waits import Waits
from taxbreak_nsys.replay.work import NEVER, Work

LATE_NS = 20_000
"""Work that starts later than its launch and its own stream explain, by more than this, waited for something else."""
AFTER_NS = 10_000
"""It waited for work of another stream if that work ended at most this long before."""


@dataclass(frozen=True)
class Followers:
    """Items that start `gap` (ns) after the end of `leader`, an item of another lane, and not before their launch."""

    item: Ints
    leader: Ints
    gap: Ints

    def flags(self, items: int) -> Flags:
        """Return a flag for each of `items` items: whether it is a follower."""
        flags = np.zeros(items, bool)
        flags[self.item] = True
        return flags


def find_followers(work: Work, host_bound: Flags, latency: int) -> Followers:
    """Return the items that waited for another lane; `latency` is the usual launch latency, ns.

    The leader is the item that ended last before the follower started, among the items launched before the follower.
    Copies queued right behind a follower follow its leader as well. A kernel with work queued behind it is not treated
    as a follower, because its whole lane would have to follow.
    """
    if not len(work):
        empty = np.empty(0, np.int64)
        return Followers(empty, empty, empty)
    late = work.own & (work.start - np.maximum(work.called + latency, work.previous_end) > LATE_NS)
    late &= work.returned <= work.start
    copies = np.bincount(work.lane, weights=work.computes)[work.lane] == 0
    late[:-1] &= copies[:-1] | host_bound[1:] | work.first[1:]
    behind = copies & ~late & ~work.first & work.own & (work.start - work.previous_end <= AFTER_NS)
    head = np.maximum.accumulate(np.where(behind, 0, np.arange(len(work))))
    follows = late[head]

    first = np.flatnonzero(late)
    leader = np.full(len(work), -1, np.int64)
    ended = np.full(len(first), NEVER, np.int64)
    for low, high in runs(work.lane):
        lane = np.flatnonzero(~follows[low:high]) + low
        if not len(lane):
            continue
        launched = np.searchsorted(work.called[lane], work.called[first], side="left")
        done = np.searchsorted(np.maximum.accumulate(work.end[lane]), work.start[first], side="right")
        at = lane[np.maximum(np.minimum(launched, done) - 1, 0)]
        better = (np.minimum(launched, done) > 0) & (work.lane[first] != work.lane[low]) & (work.end[at] > ended)
        leader[first[better]], ended[better] = at[better], work.end[at][better]
    leader[first[work.start[first] - ended > AFTER_NS]] = -1
    item = np.flatnonzero(follows & (leader[head] >= 0))
    chosen = leader[head[item]]
    return Followers(item, chosen, work.start[item] - work.end[chosen])


def wait_for_leaders(waits: Waits, work: Work, followers: Followers) -> Waits:
    """Return waits that need leaders instead of followers; the time between the two ends is added to the lag."""
    leader, later = np.arange(len(work)), np.zeros(len(work), np.int64)
    leader[followers.item] = followers.leader
    later[followers.item] = work.end[followers.item] - work.end[followers.leader]
    return replace(waits, need_item=leader[waits.need_item], need_lag=waits.need_lag + later[waits.need_item])
