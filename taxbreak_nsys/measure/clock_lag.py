"""How far the device's clock lags behind the host's, as synchronisations show it.

When a synchronisation returns, the work that it waited for is done. If the report says that this work ended later, the
device's timestamps are late by at least the difference.
"""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints, distinct
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.trace_columns import Trace, thread_slice

_NOISE_NS = 1_000
"""Tolerance for rounding. In sound reports work ends microseconds before its synchronisation returns."""


class ClockLag:
    """Compares, over the pieces of a report, the end of device work with the synchronisation that waited for it.

    `synchronisations` counts the stream and device synchronisations that a thread made after launching work, `late` the
    synchronisations whose work ends after they return; `largest_ns` is the largest such lag. The report does not say
    which stream a stream synchronisation waited for: the stream of the thread that was done first is assumed.
    """

    def __init__(self) -> None:
        self.synchronisations, self.late, self.largest_ns = 0, 0, 0
        self._reach: dict[int, dict[int, int]] = {}
        """By thread and stream, the latest end of the work that earlier pieces launched."""
        self._counted: dict[int, int] = {}

    def add(self, trace: Trace, launches: Launches, own: Flags) -> None:
        """Add a piece; `own` flags the launches that no other piece counts."""
        api = trace.api
        whole = api.named(name_rules.waits_for_whole_device)
        syncs = whole | api.named(name_rules.waits_for_one_stream)
        joined = np.flatnonzero((launches.of_op >= 0) & own[np.maximum(launches.of_op, 0)]) if len(own) else own
        launch = launches.of_op[joined]
        for thread in distinct(api.thread):
            part = thread_slice(api.thread, thread)
            index = part.start + np.flatnonzero(syncs[part] & (api.start[part] > self._counted.get(thread, NEVER)))
            work = np.flatnonzero(launches.thread[launch] == thread)
            returned, stream = launches.end[launch[work]], trace.ops.stream[joined[work]]
            end = trace.ops.end[joined[work]]
            if len(index):
                self._counted[thread] = int(api.start[index[-1]])
                self._count(thread, (api.start[index], api.end[index], whole[index]), (returned, stream, end))
            reach = self._reach.setdefault(thread, {})
            for code in distinct(stream):
                reach[code] = max(reach.get(code, NEVER), int(end[stream == code].max()))

    def _count(self, thread: int, syncs: tuple[Ints, Ints, Flags], work: tuple[Ints, Ints, Ints]) -> None:
        """Count the synchronisations (start, end, of the whole device) after work (returned, stream, end)."""
        start, sync_end, whole = syncs
        returned, stream, work_end = work
        before = self._reach.get(thread, {})
        last = np.full(len(start), NEVER, np.int64)
        first = np.full(len(start), np.iinfo(np.int64).max, np.int64)
        for code in sorted({*before, *distinct(stream)}):
            rows = np.flatnonzero(stream == code)
            order = rows[np.argsort(returned[rows], kind="stable")]
            reach = np.maximum.accumulate(np.r_[before.get(code, NEVER), work_end[order]])
            done = reach[np.searchsorted(returned[order], start, side="right")]
            last = np.maximum(last, done)
            first = np.where(done > NEVER, np.minimum(first, done), first)
        known = last > NEVER
        lag = (np.where(whole, last, first) - sync_end)[known]
        self.synchronisations += len(lag)
        self.late += int(np.sum(lag > _NOISE_NS))
        self.largest_ns = max(self.largest_ns, int(lag.max(initial=0)))
