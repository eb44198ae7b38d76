"""Host time by what it led to: before each launch, and in each operator without the operators inside it."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.columns import Columns
from taxbreak_nsys.groups import sum_by
from taxbreak_nsys.intervals import Ints, among, ranks
from taxbreak_nsys.read.trace import runs, thread_slice
from taxbreak_nsys.words import FRAMEWORK_STATES, STATES

_LAYER = np.array([1 if name in FRAMEWORK_STATES else 2 if name == "library" else 0 for name in STATES], np.int64)
"""1 for the states of the framework, 2 for the library's, 0 for others."""

GROUPS = ("framework", "library", "launch", "all")
"""The groups of states that an operator's own time is given for."""

_OF_GROUP = np.array(
    [
        [name in FRAMEWORK_STATES for name in STATES],
        [name == "library" for name in STATES],
        [name == "launch" for name in STATES],
        [True for _ in STATES],
    ],
    np.int64,
)
"""1 where a state (columns) belongs to a group (rows)."""


def host_time_before(columns: Columns) -> tuple[Ints, Ints]:
    """Return for each launch the framework and the library time that led to it, ns.

    That is the time in those states since the launch before it (of the same instance), by the method's rule
    that the small calls before a launch belong to it. What follows an instance's last launch led to none.
    """
    launches, intervals = columns.launches, columns.intervals
    framework, library = np.zeros(len(launches), np.int64), np.zeros(len(launches), np.int64)
    for low, high in runs(launches.thread):
        part = thread_slice(intervals.thread, int(launches.thread[low]))
        layer = _LAYER[intervals.state[part]]
        # what follows the last launch of all stands before one that is no instance's
        following = ranks(launches.end[low:high], intervals.start[part])
        instance = np.append(columns.launch_instance[low:high], -1)[following]
        counts = np.flatnonzero((layer > 0) & (instance == intervals.instance[part]))
        cell = 2 * following[counts] + layer[counts] - 1
        sums = sum_by(cell, intervals.duration[part][counts], 2 * (high - low)).reshape(-1, 2)
        framework[low:high], library[low:high] = sums[:, 0], sums[:, 1]
    return framework, library


class _TimeBefore:
    """The time of each group of states before a moment, over disjoint sorted intervals; arrays of (groups, moments)."""

    def __init__(self, start: Ints, end: Ints, state: Ints) -> None:
        self._start, self._end = start, end
        self._counts = [of[state] for of in _OF_GROUP]
        duration = end - start
        self._until = [np.r_[np.int64(0), np.cumsum(duration * counts)] for counts in self._counts]

    def of(self, moment: Ints) -> Ints:
        """Return it for each moment, ns."""
        at = ranks(self._start, moment)
        last = np.maximum(at - 1, 0)
        # what lies behind the moment of the interval that holds it; before the first one nothing does
        rest = np.maximum(self._end[last] - moment, 0)
        rest[at == 0] = 0
        groups = zip(self._until, self._counts, strict=True)
        none = np.zeros(len(moment), np.int64)
        return np.stack([until[at] - rest * counts[last] if until[-1] else none for until, counts in groups])


def self_times(columns: Columns, instance: Ints) -> dict[str, Ints]:
    """Return for each operator its own time by group of states (GROUPS), ns: an array over operators each.

    Time counts while the operator's instance lasts (`instance`: that of each operator's start, -1 for none, which has
    no time), and without the operators inside it.
    """
    operators, intervals = columns.operators, columns.intervals
    covered = np.zeros((len(GROUPS), len(operators)), np.int64)
    for low, high in runs(operators.thread):
        part = thread_slice(intervals.thread, int(operators.thread[low]))
        start, end, state = intervals.start[part], intervals.end[part], intervals.state[part]
        held, of = among(instance[low:high] >= 0), instance[low:high]
        of = of[held]
        if not len(start) or not len(of):
            continue
        until = np.minimum(operators.end[low:high][held], columns.instances.end[of])
        before = _TimeBefore(start, end, state)
        covered[:, low:high][:, held] = before.of(until) - before.of(operators.start[low:high][held])
    inner = np.flatnonzero((operators.parent >= 0) & (instance >= 0))
    parent = operators.parent[inner]
    return {
        name: np.maximum(covered[group] - sum_by(parent, covered[group, inner], len(operators)), 0)
        for group, name in enumerate(GROUPS)
    }
