"""The duration from which a call counts as blocked, for a report that is read in windows (method section 3)."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.launches import BLOCKING_DEFAULT_NS, Launches, blocking_limit, durations_limit
from taxbreak_nsys.model.trace_columns import Trace


class BlockingLimits:
    """The duration from which calls of each name count as blocked: estimated from earlier windows, then checked.

    The method takes the median over the whole report, which is known only at its end. If that median contradicts a
    decision made in an earlier window, `settle` returns the right limits for a second reading.
    """

    def __init__(self, known: Ints | None = None) -> None:
        """`known` are the limits that an earlier reading settled on, ns by API name code; None in a first reading."""
        self._limit = known
        self._final = known is not None
        self._used: dict[tuple[int, int], int] = {}
        self._judged, self._usual = ValueCounts(), ValueCounts()
        self._names = 0

    def of(self, names: int) -> Ints | None:
        """Return the limit of each API name code, ns; None before the first piece."""
        if self._limit is None:
            return None
        return np.r_[self._limit, np.full(max(names - len(self._limit), 0), BLOCKING_DEFAULT_NS)][:names]

    def learn(self, trace: Trace, launches: Launches, own: Flags) -> None:
        """Record which launches of a piece counted as blocked, and the durations of launches to an idle stream.

        `own` flags the launches that no other piece counts.
        """
        names, duration = trace.api.name[launches.api], launches.end - launches.start
        limit = self.of(len(trace.api.names))
        if limit is None:
            # the rule that `find_launches` applied: the limit from all launches of this piece
            all_idle = launches.idle_stream
            limit = durations_limit(names[all_idle], duration[all_idle], len(trace.api.names))
        idle, busy = own & launches.idle_stream, own & (launches.start < launches.queued_until)
        self._usual.add(names[idle], duration[idle])
        self._names = len(trace.api.names)
        if self._final:
            return
        group = np.zeros(len(limit), np.int64)
        for code in np.flatnonzero(np.bincount(names[busy], minlength=len(limit))).tolist():
            group[code] = self._used.setdefault((code, int(limit[code])), len(self._used))
        self._judged.add(group[names[busy]], duration[busy])
        self._limit = blocking_limit(self._usual, self._names)

    def afresh(self) -> BlockingLimits:
        """Return the limits that this reading started with, to read the report again."""
        return BlockingLimits(self._limit if self._final else None)

    def settle(self) -> BlockingLimits | None:
        """Return None if the whole report confirms every decision, else the limits for another reading."""
        if self._final:
            return None
        final = blocking_limit(self._usual, self._names)
        group, value = self._judged.values()
        keys = list(self._used)
        name = np.array([key[0] for key in keys], np.int64)
        used = np.array([key[1] for key in keys], np.int64)
        if len(group) and np.any((value > used[group]) != (value > final[name[group]])):
            return BlockingLimits(final)
        return None
