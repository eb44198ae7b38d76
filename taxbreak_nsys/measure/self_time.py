"""Host time before each launch, and host time of each operator without the operators inside it."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import group_sums
from taxbreak_nsys.arrays.intervals import Ints, among, count_at_or_before
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import runs, thread_slice

GROUPS = ("framework", "library", "launch", "all")
"""The groups of states by which the own time of an operator is split."""
_LAYERS = (0, 1)
"""The groups by which the time before a launch is split: framework and library."""

_GROUP = np.array(
    [0 if name in FRAMEWORK_STATES else GROUPS.index(name) if name in GROUPS else -1 for name in STATES], np.int8
)
"""The group of each state, apart from "all", which holds every state; -1: none."""


def host_time_before(columns: Measured) -> tuple[Ints, Ints]:
    """Return for each launch the framework and the library time that led to it, ns.

    It is the time in framework and library states since the previous launch of the same instance: by the method's rule
    small calls belong to the launch that follows them. Time after the last launch of an instance belongs to no launch.
    """
    launches, intervals = columns.launches, columns.intervals
    framework, library = np.zeros(len(launches), np.int64), np.zeros(len(launches), np.int64)
    for low, high in runs(launches.thread):
        part = thread_slice(intervals.thread, int(launches.thread[low]))
        group = _GROUP[intervals.state[part]]
        # time after the thread's last launch: the appended -1 gives it no instance, so it is not counted
        following = count_at_or_before(launches.end[low:high], intervals.start[part])
        instance = np.append(columns.launch_instance[low:high], -1)[following]
        counts = np.flatnonzero(((group == 0) | (group == 1)) & (instance == intervals.instance[part]))
        cell = len(_LAYERS) * following[counts] + group[counts]
        sums = group_sums(cell, intervals.duration[part][counts], len(_LAYERS) * (high - low)).reshape(-1, len(_LAYERS))
        framework[low:high], library[low:high] = sums[:, 0], sums[:, 1]
    return framework, library


def _group_times(start: Ints, end: Ints, state: Ints, begin: Ints, until: Ints) -> list[Ints]:
    """Return for each group of states (GROUPS) an array over operators: the time between `begin` and `until`, ns.

    The intervals are sorted and disjoint. Most operators lie within one interval; only for the others the interval at
    their end is looked up.
    """
    group, duration = _GROUP[state], end - start
    at = np.maximum(count_at_or_before(start, begin) - 1, 0)
    first = np.maximum(np.minimum(until, end[at]) - np.maximum(begin, start[at]), 0)
    group_there = group[at]
    result = [np.where(group_there == code, first, 0) for code in range(len(GROUPS) - 1)] + [first]
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
    """Return by group of states (GROUPS) an array over operators: the own time of each, ns.

    The own time leaves out the operators inside it and ends with the operator's instance. `instance` is the instance of
    each operator's start; an operator outside instances (-1) has no time.
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
        for code, time in enumerate(_group_times(start, end, state, operators.start[low:high][rows], until)):
            covered[code, low:high][rows] = time
    inner = np.flatnonzero((operators.parent >= 0) & (instance >= 0))
    parent = operators.parent[inner]
    return {
        name: np.maximum(covered[group] - group_sums(parent, covered[group, inner], len(operators)), 0)
        for group, name in enumerate(GROUPS)
    }
