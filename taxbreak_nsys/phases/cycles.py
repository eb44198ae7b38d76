"""Cycles: the steps of a serving engine, from the start of a step's mark to the start of the next mark.

An engine's mark covers the host's part of a step and ends before the device does; sampling and scheduling lie between
the marks (method section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Ints
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.phases.process_phases import ProcessPhases, outermost

IDLE = "idle"
"""The label of a mark without requests: it ends the cycle before it and belongs to no phase."""


@dataclass(frozen=True)
class IdleTime:
    """Steps without requests that a thread marked: their number, and their time from each mark to the next, ns."""

    process: int
    thread: int
    instances: int
    total_ns: int


def without_idle(phases: ProcessPhases) -> tuple[ProcessPhases, list[IdleTime]]:
    """Return the phases without idle marks, and the time that the idle marks themselves cover."""
    idle = idle_rows(phases)
    return phases.keep(~idle), _idle_times(phases, idle, phases.end - phases.start)


def idle_rows(phases: ProcessPhases) -> Flags:
    """Return a flag per instance: whether an engine marked it as a step without requests."""
    is_idle = np.array([label == IDLE for label in phases.labels] or [False], bool)
    return is_idle[phases.label]


def to_cycles(phases: ProcessPhases, outline: LaunchOutline) -> tuple[ProcessPhases, list[IdleTime]]:
    """Return the phases as cycles, and the idle time between them.

    A cycle ends where the next mark of its thread starts. If that mark is idle, or none follows, the cycle ends at the
    latest of: the end of its mark, the end of the last device operation launched in it, the end of the last API call
    of its busiest thread; but no later than the start of the next mark that is not idle.
    """
    idle = idle_rows(phases)
    following, next_step = _following_marks(phases, idle)
    phases = _shared_cycles(phases, idle, following)
    end, idle_ns = following.copy(), np.zeros(len(phases), np.int64)
    for row in np.flatnonzero(~idle & _ends_open(phases, idle)).tolist():
        last = _last_moment(phases, outline, row, int(phases.start[row]), int(following[row]))
        end[row] = min(max(int(phases.mark_end[row]), last), int(next_step[row]))
    for _, rows in _by_thread(phases):
        before = np.r_[NEVER, np.maximum.accumulate(np.where(idle[rows], NEVER, end[rows]))[:-1]]
        until = np.where(following[rows] == FOREVER, phases.mark_end[rows], following[rows])
        idle_ns[rows] = np.maximum(until - np.maximum(phases.start[rows], before), 0)
    used = phases.own | phases.shared
    threads = np.unique(phases.marked_by[used & ~idle])
    times = _idle_times(phases, idle & np.isin(phases.marked_by, threads), idle_ns)
    return replace(phases, end=end, cycles=True).keep(used & ~idle), times


def _by_thread(phases: ProcessPhases) -> list[tuple[int, Ints]]:
    """Return (marking thread, rows of its instances by start) for each marking thread."""
    result = []
    for thread in np.unique(phases.marked_by).tolist():
        rows = np.flatnonzero(phases.marked_by == thread)
        result.append((thread, rows[np.argsort(phases.start[rows], kind="stable")]))
    return result


def _following_marks(phases: ProcessPhases, idle: Flags) -> tuple[Ints, Ints]:
    """Return for each mark the start of its thread's next mark, and the start of the next mark that is not idle.

    FOREVER where no such mark follows.
    """
    following, next_step = np.full(len(phases), FOREVER), np.full(len(phases), FOREVER)
    for _, rows in _by_thread(phases):
        following[rows[:-1]] = phases.start[rows[1:]]
        next_step[rows] = _next_step(phases.start[rows], idle[rows])
    return following, next_step


def _ends_open(phases: ProcessPhases, idle: Flags) -> Flags:
    """Return a flag per mark: whether the next mark of its thread is idle or missing."""
    is_open = np.zeros(len(phases), bool)
    for _, rows in _by_thread(phases):
        is_open[rows] = np.r_[idle[rows[1:]], True]
    return is_open


def _shared_cycles(phases: ProcessPhases, idle: Flags, following: Ints) -> ProcessPhases:
    """Return the phases with `shared` set: the outermost cycles of the process, for threads without marks."""
    rows = np.flatnonzero(phases.shared & ~idle)
    shared = np.zeros(len(phases), bool)
    shared[rows[outermost(phases.start[rows], following[rows])]] = True
    return replace(phases, shared=shared)


def _next_step(start: Ints, idle: Flags) -> Ints:
    """Return for each mark of a thread the start of the next mark that is not idle, FOREVER after the last."""
    later = np.where(idle, FOREVER, start)
    return np.r_[np.minimum.accumulate(later[::-1])[::-1][1:], FOREVER]


def _last_moment(phases: ProcessPhases, outline: LaunchOutline, row: int, low: int, high: int) -> int:
    """Return the end of the last device operation launched in [low, high) or, if later, of the host's last API call."""
    members = np.array([thread for thread in phases.threads if row in phases.thread_rows(thread)], np.int64)
    last = outline.last_end(members, low, high)
    counts = [(_launch_count(outline, thread, low, high), thread) for thread in members.tolist()]
    if not counts:
        return last
    marker = int(phases.marked_by[row])
    total, busiest = sum(count for count, _ in counts), max(counts)
    host = next((thread for count, thread in counts if thread == marker and 2 * count >= total), busiest[1])
    return max(last, outline.last_call_end(host, low, high))


def _launch_count(outline: LaunchOutline, thread: int, low: int, high: int) -> int:
    """Return the number of kernel and graph launches of a thread that start in [low, high)."""
    first, past = np.searchsorted(outline.thread, [thread, thread + 1])
    begin, until = np.searchsorted(outline.start[first:past], [low, high]) + first
    return int(outline.computes[begin:until].sum())


def _idle_times(phases: ProcessPhases, idle: Flags, time: Ints) -> list[IdleTime]:
    """Return the sum of `time` (ns) over the idle instances of each marking thread."""
    return [
        IdleTime(
            process=phases.process,
            thread=thread,
            instances=int(np.sum(idle & (phases.marked_by == thread))),
            total_ns=int(time[idle & (phases.marked_by == thread)].sum()),
        )
        for thread in np.unique(phases.marked_by[idle]).tolist()
    ]
