"""Host time by what it led to: before each launch, and in each operator without the operators inside it."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import group_sums
from taxbreak_nsys.arrays.intervals import Ints, among, count_at_or_before
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import runs, thread_slice

GROUPS = ("framework", "library", "launch", "all")
"""The groups of states that an operator's own time is given for."""
_LAYERS = (0, 1)
"""Those whose time before a launch is: framework and library."""

_GROUP = np.array(
    [0 if name in FRAMEWORK_STATES else GROUPS.index(name) if name in GROUPS else -1 for name in STATES], np.int8
)
"""The group of each state besides the last one, "all"; -1: none."""


def host_time_before(columns: Measured) -> tuple[Ints, Ints]:
    """Return for each launch the framework and the library time that led to it, ns.

    That is the time in those states since the launch before it (of the same instance), by the method's rule
    that the small calls before a launch belong to it. What follows an instance's last launch led to none.
    """
    launches, intervals = columns.launches, columns.intervals
    framework, library = np.zeros(len(launches), np.int64), np.zeros(len(launches), np.int64)
    for low, high in runs(launches.thread):
        part = thread_slice(intervals.thread, int(launches.thread[low]))
        group = _GROUP[intervals.state[part]]
        # what follows the last launch of all stands before one that is no instance's
        following = count_at_or_before(launches.end[low:high], intervals.start[part])
        instance = np.append(columns.launch_instance[low:high], -1)[following]
        counts = np.flatnonzero(np.isin(group, _LAYERS) & (instance == intervals.instance[part]))
        cell = len(_LAYERS) * following[counts] + group[counts]
        sums = group_sums(cell, intervals.duration[part][counts], len(_LAYERS) * (high - low)).reshape(-1, len(_LAYERS))
        framework[low:high], library[low:high] = sums[:, 0], sums[:, 1]
    return framework, library


def _time_in(start: Ints, end: Ints, state: Ints, begin: Ints, until: Ints) -> list[Ints]:
    """Return the time in each group of states (GROUPS) from `begin` until `until`, ns: an array over those each.

    The intervals are sorted and disjoint. Most operators lie within one; only the others are looked up at their end.
    """
    group, duration = _GROUP[state], end - start
    at = np.maximum(count_at_or_before(start, begin) - 1, 0)
    first = np.maximum(np.minimum(until, end[at]) - np.maximum(begin, start[at]), 0)
    result = [np.where(group[at] == code, first, 0) for code in range(len(GROUPS) - 1)] + [first]
    beyond = np.flatnonzero(until > end[at])
    behind, last = at[beyond] + 1, np.maximum(count_at_or_before(start, until[beyond]) - 1, 0)
    rest = np.minimum(until[beyond], end[last]) - start[last]
    for code, time in enumerate(result):
        counts = None if time is first else group == code
        before = np.empty(len(start) + 1, np.int64)
        before[0] = 0
        np.cumsum(duration if counts is None else duration * counts, out=before[1:])
        if before[-1]:
            # If the operator ends in the gap right after its first interval (last == at), the prefix-sum difference is
            # minus that interval and `part` adds it back: the sum is 0.
            part = rest if counts is None else rest * counts[last]
            time[beyond] += before[last] - before[behind] + part
    return result


def self_times(columns: Measured, instance: Ints) -> dict[str, Ints]:
    """Return for each operator its own time by group of states (GROUPS), ns: an array over operators each.

    Time counts while the operator's instance lasts (`instance`: that of each operator's start, -1 for none, which has
    no time), and without the operators inside it.
    """
    operators, intervals = columns.operators, columns.intervals
    covered = np.zeros((len(GROUPS), len(operators)), np.int64)
    for low, high in runs(operators.thread):
        part = thread_slice(intervals.thread, int(operators.thread[low]))
        start, end, state = intervals.start[part], intervals.end[part], intervals.state[part]
        rows, owner = among(instance[low:high] >= 0), instance[low:high]
        owner = owner[rows]
        if not len(start) or not len(owner):
            continue
        until = np.minimum(operators.end[low:high][rows], columns.instances.end[owner])
        for code, time in enumerate(_time_in(start, end, state, operators.start[low:high][rows], until)):
            covered[code, low:high][rows] = time
    inner = np.flatnonzero((operators.parent >= 0) & (instance >= 0))
    parent = operators.parent[inner]
    return {
        name: np.maximum(covered[group] - group_sums(parent, covered[group, inner], len(operators)), 0)
        for group, name in enumerate(GROUPS)
    }
