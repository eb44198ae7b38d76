"""Cycles: the steps of a serving engine, from the start of a step's mark to the start of the next mark.

An engine's mark covers the host's part of a step and ends before the device does; sampling and scheduling lie between
the marks (method section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, Flags, Ints
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.phases.process_phases import ProcessPhases, outermost

IDLE = "idle"
"""The label of a mark without requests: it ends a cycle and is no phase."""


@dataclass(frozen=True)
class IdleTime:
    """What an engine marked as steps without requests: how many, and from each to the next mark, ns."""

    process: int
    thread: int
    instances: int
    total_ns: int


def without_idle(phases: ProcessPhases) -> tuple[ProcessPhases, list[IdleTime]]:
    """Return the phases without idle marks, whose time is what the marks cover."""
    idle = idle_rows(phases)
    return phases.keep(~idle), _idle_times(phases, idle, phases.end - phases.start)


def idle_rows(phases: ProcessPhases) -> Flags:
    """Flag the instances that an engine marked as a step without requests."""
    is_idle = np.array([label == IDLE for label in phases.labels] or [False], bool)
    return is_idle[phases.label]


def to_cycles(phases: ProcessPhases, outline: LaunchOutline) -> tuple[ProcessPhases, list[IdleTime]]:
    """Return the phases as cycles, and the idle time between them.

    A cycle ends where the next mark of its thread starts. Before an idle mark, and where no mark follows, it ends at
    the latest of: its mark's end, the end of the last device operation launched in it, the end of the last API call of
    its busiest thread; never later than the start of the next step's mark.
    """
    idle = idle_rows(phases)
    end, idle_ns = phases.end.copy(), np.zeros(len(phases), np.int64)
    for thread in np.unique(phases.marked_by).tolist():
        rows = np.flatnonzero(phases.marked_by == thread)
        rows = rows[np.argsort(phases.start[rows], kind="stable")]
        start = phases.start[rows]
        following = np.r_[start[1:], FOREVER]
        next_step = _next_step(start, idle[rows])
        open_end = np.r_[idle[rows][1:], True]
        end[rows] = following
        for at in np.flatnonzero(open_end & ~idle[rows]).tolist():
            low, high = int(start[at]), int(following[at])
            last = _last_moment(phases, outline, int(rows[at]), low, high)
            end[rows[at]] = min(max(int(phases.mark_end[rows[at]]), last), int(next_step[at]))
        for at in np.flatnonzero(idle[rows]).tolist():
            until = int(following[at]) if at + 1 < len(rows) else int(phases.mark_end[rows[at]])
            begun = max(int(start[at]), int(end[rows[at - 1]]) if at else int(start[at]))
            end[rows[at]] = max(until, begun)
            idle_ns[rows[at]] = max(until - begun, 0)
    # threads without marks use the outermost of all cycles of the process
    rows = np.flatnonzero(phases.shared)
    shared = np.zeros(len(phases), bool)
    shared[rows[outermost(phases.start[rows], end[rows])]] = True
    used = phases.own | shared
    cycles = replace(phases, end=end, shared=shared, cycles=True)
    return cycles.keep(~idle & used), _idle_times(phases, idle & used, idle_ns)


def _next_step(start: Ints, idle: Flags) -> Ints:
    """Return for each mark of a thread the start of the next mark that is not idle, FOREVER after the last."""
    later = np.where(idle, FOREVER, start)
    return np.r_[np.minimum.accumulate(later[::-1])[::-1][1:], FOREVER]


def _last_moment(phases: ProcessPhases, outline: LaunchOutline, row: int, low: int, high: int) -> int:
    """Return when the work that is launched in [low, high) ends, on the device and in the busiest thread's calls."""
    members = np.array([thread for thread in phases.threads if row in phases.rows_for(thread)], np.int64)
    last = outline.last_end(members, low, high)
    counts = [(_launch_count(outline, thread, low, high), thread) for thread in members.tolist()]
    if not counts:
        return last
    marker = int(phases.marked_by[row])
    total, most = sum(count for count, _ in counts), max(counts)
    host = next((thread for count, thread in counts if thread == marker and 2 * count >= total), most[1])
    return max(last, outline.last_call_end(host, low, high))


def _launch_count(outline: LaunchOutline, thread: int, low: int, high: int) -> int:
    first, past = np.searchsorted(outline.thread, [thread, thread + 1])
    begin, until = np.searchsorted(outline.start[first:past], [low, high]) + first
    return int(outline.computes[begin:until].sum())


def _idle_times(phases: ProcessPhases, idle: Flags, time: Ints) -> list[IdleTime]:
    return [
        IdleTime(
            process=phases.process,
            thread=thread,
            instances=int(np.sum(idle & (phases.marked_by == thread))),
            total_ns=int(time[idle & (phases.marked_by == thread)].sum()),
        )
        for thread in np.unique(phases.marked_by[idle]).tolist()
    ]
