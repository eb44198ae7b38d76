"""Where windows of time may be cut: after whole steps, on all threads whose instances belong together.

A thread and its helpers share instances, and the ranks of a group share steps: their collectives are compared. Such
threads end a window after the same step, each at the end of its own instance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Ints
from taxbreak_nsys.phases import Instances


class CutPlan:
    """The cuts of threads that are cut together: blocks of steps, in the order of time, that no cut divides."""

    def __init__(self, threads: Sequence[int], thread: Ints, start: Ints, end: Ints, step: Ints) -> None:
        """Plan for `threads`; the columns have a row per thread and instance that the thread works for.

        `step` is the same number for instances that lie in one window.
        """
        self.threads = tuple(threads)
        block = _blocks(thread, start, end, step)
        blocks = int(block.max()) + 1 if len(block) else 0
        self._begin = np.full(blocks, np.iinfo(np.int64).max)
        np.minimum.at(self._begin, block, start)
        self._ends: dict[int, tuple[Ints, Ints]] = {}
        for one in self.threads:
            mine = np.flatnonzero(thread == one)
            mine = mine[np.argsort(block[mine], kind="stable")]
            self._ends[one] = block[mine], np.maximum.accumulate(end[mine]) if len(mine) else end[mine]

    def cuts(self, moment: int) -> dict[int, int]:
        """Return where each thread's window ends: at the moment, or where what has begun by then has ended."""
        last = int(np.searchsorted(self._begin, moment, side="left")) - 1
        found = {}
        for thread, (block, end) in self._ends.items():
            at = int(np.searchsorted(block, last, side="right")) - 1
            found[thread] = max(moment, int(end[at]) if at >= 0 else NEVER)
        return found


def cut_plans(instances: Instances, threads: Sequence[int]) -> list[CutPlan]:
    """Return the plans for some launching threads; each thread is in one of them."""
    rows = np.unique(np.stack([instances.piece_thread, instances.piece_instance]), axis=1)
    thread, instance = rows[0], rows[1]
    # an instance without a pair on other ranks is a step of its own
    alone = int(instances.step.max(initial=-1)) + 1 + np.arange(len(instances))
    step = np.where(instances.step >= 0, instances.step, alone)[instance]
    plans = []
    for members in _together(threads, thread, instance, instances.group[instance]):
        mine = np.isin(thread, members)
        held = instance[mine]
        plans.append(CutPlan(members, thread[mine], instances.start[held], instances.end[held], step[mine]))
    return plans


def _together(threads: Sequence[int], thread: Ints, instance: Ints, group: Ints) -> list[list[int]]:
    """Return the threads in sets that share instances or rank groups."""
    leader = {one: one for one in threads}

    def find(one: int) -> int:
        while leader[one] != one:
            one = leader[one]
        return one

    grouped = group >= 0
    for key, of_thread in ((instance, thread), (group[grouped], thread[grouped])):
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order][1:] == key[order][:-1])
        pairs = np.unique(np.stack([of_thread[order][same], of_thread[order][same + 1]]), axis=1)
        for one, other in pairs.T.tolist():
            if one in leader and other in leader:
                leader[find(one)] = find(other)
    found: dict[int, list[int]] = {}
    for one in threads:
        found.setdefault(find(one), []).append(one)
    return list(found.values())


def _blocks(thread: Ints, start: Ints, end: Ints, step: Ints) -> Ints:
    """Return the block of each row, in the order of time: steps that overlap on a thread are one block."""
    if not len(step):
        return step
    _, code = np.unique(step, return_inverse=True)
    begin = np.full(int(code.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(begin, code, start)
    place = np.empty(len(begin), np.int64)
    place[np.argsort(begin, kind="stable")] = np.arange(len(begin))
    place = place[code]
    reach = np.arange(len(begin))
    for one in np.unique(thread).tolist():
        mine = np.flatnonzero(thread == one)
        mine = mine[np.argsort(start[mine], kind="stable")]
        latest = np.maximum.accumulate(end[mine])
        highest = np.maximum.accumulate(place[mine])
        clash = np.flatnonzero((start[mine][1:] < latest[:-1]) | (place[mine][1:] < highest[:-1])) + 1
        # a step that begins before an earlier one has ended is in its block, with all between them
        for at in clash.tolist():
            still_open = np.flatnonzero((end[mine[:at]] > start[mine[at]]) | (place[mine[:at]] > place[mine[at]]))
            low = min(int(place[mine[still_open]].min()), int(place[mine[at]]))
            high = max(int(place[mine[still_open]].max()), int(place[mine[at]]))
            reach[low] = max(reach[low], high)
    furthest = np.maximum.accumulate(reach)
    new = np.r_[True, np.arange(1, len(reach)) > furthest[:-1]]
    return (np.cumsum(new) - 1)[place]
