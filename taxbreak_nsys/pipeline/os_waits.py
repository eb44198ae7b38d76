"""Which processes were on a CPU while the host threads waited in the OS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Intervals
from taxbreak_nsys.model.engine_figures import OnCpuInWait, OsWait
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid, runs, tid
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.pipeline.collector import C
from taxbreak_nsys.read.other_processes import NO_SWITCHES, CpuActivity, united
from taxbreak_nsys.totals.warning_facts import Piece

_OS_WAIT = STATES.index("os_wait")

_MOST_PENDING = 1 << 20
"""Waits that are kept until the CPU time of the processes has been read, 16 bytes each."""


class OsWaits:
    """Adds up, piece by piece, the CPU time of each process in the OS waits of each host thread.

    Each nanosecond of a wait counts once for each process that then has a thread on a CPU: the sums do not depend on
    where the pieces are cut.
    """

    def __init__(self, instances: Instances, activity: Callable[[], CpuActivity]) -> None:
        """`activity` waits for the CPU time of the processes, which another thread reads."""
        self._instances, self._activity = instances, activity
        self._pending: dict[int, list[Intervals]] = {}
        self._pending_waits = 0
        self._wait_ns: dict[int, int] = {}
        self._in_wait: dict[int, dict[int, int]] = {}
        self._processes: dict[int, Coverage] | None = None
        self._own: dict[int, Coverage] = {}

    def add(self, piece: Piece) -> None:
        """Add the OS waits of a piece; every instance is in one piece, so each wait is added once."""
        intervals = piece.columns.intervals
        rows = np.flatnonzero(intervals.state == _OS_WAIT)
        thread, start, end = intervals.thread[rows], intervals.start[rows], intervals.end[rows]
        for low, high in runs(thread):
            self._pending.setdefault(int(thread[low]), []).append((start[low:high], end[low:high]))
        self._pending_waits += len(rows)
        if self._pending_waits > _MOST_PENDING:
            self._settle()

    def _settle(self) -> None:
        """Add the pending waits to the sums."""
        for thread, parts in self._pending.items():
            start, end = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
            self._wait_ns[thread] = self._wait_ns.get(thread, 0) + int(np.sum(end - start))
            sums = self._in_wait.setdefault(thread, {})
            for process, coverage in self._coverage(thread).items():
                sums[process] = sums.get(process, 0) + int(np.sum(coverage.within(start, end)))
        self._pending, self._pending_waits = {}, 0

    def _coverage(self, host: int) -> dict[int, Coverage]:
        """Return the CPU time of each process by globalPid; of the host thread's process, that of its other threads."""
        activity = self._activity()
        if self._processes is None:
            self._processes = {other.process: Coverage.of(other.on_cpu) for other in activity.others if other.on_cpu}
            for process, threads in _by_process(activity.on_cpu or {}).items():
                self._processes[process] = Coverage.of(united(list(threads.values())))
        own = host & PROCESS_MASK
        if host not in self._own:
            threads = _by_process(activity.on_cpu or {}).get(own, {})
            self._own[host] = Coverage.of(united([on_cpu for thread, on_cpu in threads.items() if thread != host]))
        return self._processes | {own: self._own[host]}

    def rows(self, *, os_calls: bool) -> tuple[OsWait, ...]:
        """Return the waits of each host thread, by thread; `os_calls` says whether the report has OS calls."""
        self._settle()
        return tuple(self._row(thread, os_calls=os_calls) for thread in np.unique(self._instances.thread).tolist())

    def _row(self, thread: int, *, os_calls: bool) -> OsWait:
        if not os_calls:
            return _unknown(thread, None, None, "the report has no OS calls of the threads that call CUDA")
        (start, end), _ = self._instances.thread_pieces(thread)
        wait_ns = self._wait_ns.get(thread, 0)
        rest_ns = int(np.sum(end - start)) - wait_ns
        if not wait_ns:
            return _unknown(thread, wait_ns, rest_ns, "the thread waited in no OS call in its phases")
        activity = self._activity()
        if activity.on_cpu is None:
            return _unknown(thread, wait_ns, rest_ns, activity.reason or NO_SWITCHES)
        candidates = []
        for process, coverage in self._coverage(thread).items():
            in_wait = self._in_wait[thread][process]
            in_rest = int(np.sum(coverage.within(start, end))) - in_wait
            if in_wait:
                candidates.append(
                    OnCpuInWait(
                        process=pid(process),
                        own=process == thread & PROCESS_MASK,
                        wait_ns=in_wait,
                        wait_share=in_wait / wait_ns,
                        rest_ns=in_rest,
                        rest_share=in_rest / rest_ns if rest_ns else None,
                    )
                )
        likely, reason = _likely(candidates, wait_ns, rest_ns)
        return OsWait(
            process=pid(thread),
            thread=tid(thread),
            wait_ns=wait_ns,
            rest_ns=rest_ns,
            on_cpu=tuple(sorted(candidates, key=lambda row: (-row.wait_ns, row.process))),
            likely_process=likely,
            reason=reason,
        )


def _by_process(on_cpu: Mapping[int, Intervals]) -> dict[int, dict[int, Intervals]]:
    """Return the intervals of threads (by globalTid) by process (globalPid)."""
    by_process: dict[int, dict[int, Intervals]] = {}
    for thread, intervals in on_cpu.items():
        by_process.setdefault(thread & PROCESS_MASK, {})[thread] = intervals
    return by_process


def _likely(candidates: list[OnCpuInWait], wait_ns: int, rest_ns: int) -> tuple[int | None, str | None]:
    """Return the process (pid) that a thread likely waited for, or None and why it cannot be told."""
    most = [row for row in candidates if 2 * row.wait_ns >= wait_ns]
    if not most:
        return None, "none was on a CPU for half of the wait"
    if len(most) > 1:
        return None, "several were on a CPU for at least half of the wait"
    if 2 * most[0].rest_ns >= rest_ns:
        return None, "the only one on a CPU for half of the wait was on it for half of the rest as well"
    return most[0].process, None


def _unknown(thread: int, wait_ns: int | None, rest_ns: int | None, reason: str) -> OsWait:
    return OsWait(
        process=pid(thread),
        thread=tid(thread),
        wait_ns=wait_ns,
        rest_ns=rest_ns,
        on_cpu=None,
        likely_process=None,
        reason=reason,
    )


class WithOsWaits(Generic[C]):
    """Gives each piece to a caller's collector and to the OS waits."""

    def __init__(self, collected: C, waits: OsWaits) -> None:
        self.collected, self.waits = collected, waits

    def add(self, piece: Piece) -> None:
        """Give a piece to both."""
        self.waits.add(piece)
        self.collected.add(piece)
