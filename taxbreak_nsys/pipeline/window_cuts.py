"""Plan where windows of time end: after whole steps, on all threads whose instances belong together.

A thread and its helpers share instances, and the ranks of a group share steps, whose collectives are compared. Such
threads end a window after the same step, each at the end of its own instance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Ints
from taxbreak_nsys.phases import Instances


class CutPlan:
    """The cuts of threads that are cut together; a cut never divides a block of steps."""

    def __init__(self, threads: Sequence[int], thread: Ints, start: Ints, end: Ints, step: Ints) -> None:
        """Plan for `threads`; the columns have a row per (thread, instance that the thread works for).

        Instances with the same `step` must be in one window.
        """
        self.threads = tuple(threads)
        block = _blocks(thread, start, end, step)
        blocks = int(block.max()) + 1 if len(block) else 0
        self._begin = np.full(blocks, np.iinfo(np.int64).max)
        np.minimum.at(self._begin, block, start)
        self._ends: dict[int, tuple[Ints, Ints]] = {}
        for member in self.threads:
            rows = np.flatnonzero(thread == member)
            rows = rows[np.argsort(block[rows], kind="stable")]
            self._ends[member] = block[rows], np.maximum.accumulate(end[rows]) if len(rows) else end[rows]

    def cuts(self, moment: int) -> dict[int, int]:
        """Return the end of each thread's window: the moment, or the end of the blocks that have begun before it."""
        last = int(np.searchsorted(self._begin, moment, side="left")) - 1
        ends = {}
        for thread, (block, end) in self._ends.items():
            at = int(np.searchsorted(block, last, side="right")) - 1
            ends[thread] = max(moment, int(end[at]) if at >= 0 else NEVER)
        return ends


def cut_plans(instances: Instances, threads: Sequence[int]) -> list[CutPlan]:
    """Return the plans for the launching threads; each thread is in exactly one plan."""
    rows = np.unique(np.stack([instances.piece_thread, instances.piece_instance]), axis=1)
    thread, instance = rows[0], rows[1]
    # An instance without pairs on other ranks gets a step number of its own.
    unpaired = int(instances.step.max(initial=-1)) + 1 + np.arange(len(instances))
    step = np.where(instances.step >= 0, instances.step, unpaired)[instance]
    plans = []
    for members in _together(threads, thread, instance, instances.group[instance]):
        chosen = np.isin(thread, members)
        numbers = instance[chosen]
        plans.append(
            CutPlan(
                threads=members,
                thread=thread[chosen],
                start=instances.start[numbers],
                end=instances.end[numbers],
                step=step[chosen],
            )
        )
    return plans


def _together(threads: Sequence[int], thread: Ints, instance: Ints, group: Ints) -> list[list[int]]:
    """Return the threads in groups: threads that share instances or rank groups are in one."""
    leader = {member: member for member in threads}

    def find(member: int) -> int:
        while leader[member] != member:
            member = leader[member]
        return member

    grouped = group >= 0
    for key, of_thread in ((instance, thread), (group[grouped], thread[grouped])):
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order][1:] == key[order][:-1])
        pairs = np.unique(np.stack([of_thread[order][same], of_thread[order][same + 1]]), axis=1)
        for first, second in pairs.T.tolist():
            if first in leader and second in leader:
                leader[find(first)] = find(second)
    groups: dict[int, list[int]] = {}
    for member in threads:
        groups.setdefault(find(member), []).append(member)
    return list(groups.values())


def _blocks(thread: Ints, start: Ints, end: Ints, step: Ints) -> Ints:
    """Return the block number of each row, ascending in time; steps that overlap on a thread are in one block."""
    if not len(step):
        return step
    _, code = np.unique(step, return_inverse=True)
    begin = np.full(int(code.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(begin, code, start)
    place = np.empty(len(begin), np.int64)
    place[np.argsort(begin, kind="stable")] = np.arange(len(begin))
    place = place[code]
    reach = np.arange(len(begin))
    for member in np.unique(thread).tolist():
        rows = np.flatnonzero(thread == member)
        rows = rows[np.argsort(start[rows], kind="stable")]
        latest = np.maximum.accumulate(end[rows])
        highest = np.maximum.accumulate(place[rows])
        clash = np.flatnonzero((start[rows][1:] < latest[:-1]) | (place[rows][1:] < highest[:-1])) + 1
        # A step that begins before an earlier step has ended joins its block, with all steps between the two.
        for at in clash.tolist():
            still_open = np.flatnonzero((end[rows[:at]] > start[rows[at]]) | (place[rows[:at]] > place[rows[at]]))
            low = min(int(place[rows[still_open]].min()), int(place[rows[at]]))
            high = max(int(place[rows[still_open]].max()), int(place[rows[at]]))
            reach[low] = max(reach[low], high)
    furthest = np.maximum.accumulate(reach)
    new = np.r_[True, np.arange(1, len(reach)) > furthest[:-1]]
    return (np.cumsum(new) - 1)[place]
