"""The few columns of launches and API calls, over the whole report, that finding phases needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Ints
from taxbreak_nsys.model.launches import MEMORY_LAUNCH, Launches
from taxbreak_nsys.model.trace_columns import Trace, thread_slice


@dataclass(frozen=True)
class LaunchOutline:
    """Launches and API calls of a report, each sorted by (thread, start); times in ns.

    `computes` is 1 for kernel and graph launches, 0 for memory launches. `ops_end` is the end of a launch's last device
    operation, NEVER without any; `device` is one device that the launch uses, -1 without any.
    """

    thread: Ints
    start: Ints
    computes: Ints
    ops_end: Ints
    device: Ints
    call_thread: Ints
    call_start: Ints
    call_end: Ints

    @classmethod
    def over(cls, trace: Trace, launches: Launches) -> LaunchOutline:
        """Return the outline of a trace and its launches."""
        ops_end = np.full(len(launches), NEVER, np.int64)
        device = np.full(len(launches), -1, np.int64)
        joined = launches.of_op >= 0
        device[launches.of_op[joined]] = trace.ops.device_global[joined]
        np.maximum.at(ops_end, launches.of_op[joined], trace.ops.end[joined])
        return cls(
            thread=launches.thread,
            start=launches.start,
            computes=(launches.kind != MEMORY_LAUNCH).astype(np.int64),
            ops_end=ops_end,
            device=device,
            call_thread=trace.api.thread,
            call_start=trace.api.start,
            call_end=trace.api.end,
        )

    def computing_threads(self) -> set[int]:
        """Return the threads that make kernel or graph launches."""
        return set(np.unique(self.thread[self.computes > 0]).tolist())

    def devices(self, thread: int) -> set[int]:
        """Return the devices that a thread's kernel and graph launches use."""
        part = thread_slice(self.thread, thread)
        return set(np.unique(self.device[part][self.computes[part] > 0]).tolist()) - {-1}

    def last_end(self, threads: Ints, low: int, high: int) -> int:
        """Return the latest end of the device operations that the threads launch in [low, high); NEVER without any."""
        last = NEVER
        for thread in threads.tolist():
            part = thread_slice(self.thread, thread)
            first, past = (np.searchsorted(self.start[part], [low, high], side="left") + part.start).tolist()
            if past > first:
                last = max(last, int(self.ops_end[first:past].max()))
        return last

    def last_call_end(self, thread: int, low: int, high: int) -> int:
        """Return the latest end of a thread's API calls that start in [low, high); NEVER without any."""
        part = thread_slice(self.call_thread, thread)
        first, past = (np.searchsorted(self.call_start[part], [low, high], side="left") + part.start).tolist()
        return int(self.call_end[first:past].max()) if past > first else NEVER
