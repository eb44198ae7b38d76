"""From which duration on a call counts as blocked, where a report is read in windows (method section 3)."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.groups import Spread
from taxbreak_nsys.intervals import Ints
from taxbreak_nsys.launches import BLOCKING_DEFAULT_NS, Launches, blocking_limit
from taxbreak_nsys.read.trace import Trace
from taxbreak_nsys.tally.tally import Tally


class BlockingLimits:
    """From which duration on calls of each name count as blocked: judged by what was seen so far, then checked.

    The method asks for the median over the whole report. Where what was decided on the way proves wrong by it,
    `settle` says so, and a second reading takes the right limits from the start.
    """

    def __init__(self, known: Ints | None = None) -> None:
        """Begin with the limits of a first reading, or with none."""
        self._limit = known
        self._final = known is not None
        self._used: dict[tuple[int, int], int] = {}
        self._judged = Spread()

    def of(self, names: int) -> Ints | None:
        """Return the limit of each API name code, ns; None where the piece itself must tell."""
        if self._limit is None:
            return None
        return np.r_[self._limit, np.full(max(names - len(self._limit), 0), BLOCKING_DEFAULT_NS)][:names]

    def learn(self, trace: Trace, launches: Launches, *, first: bool) -> None:
        """Note what was decided of a piece's launches."""
        if first and self._limit is None:
            usual = Spread()
            idle = launches.idle_stream
            usual.add(trace.api.name[launches.api[idle]], (launches.end - launches.start)[idle])
            self._limit = blocking_limit(usual, len(trace.api.names))
        limit = self.of(len(trace.api.names))
        if limit is None or self._final:
            return
        busy = launches.start < launches.queued_until
        name = trace.api.name[launches.api[busy]]
        group = np.zeros(len(limit), np.int64)
        for code in np.flatnonzero(np.bincount(name, minlength=len(limit))).tolist():
            group[code] = self._used.setdefault((code, int(limit[code])), len(self._used))
        self._judged.add(group[name], (launches.end - launches.start)[busy])

    def update(self, tally: Tally) -> None:
        """Judge the next piece by all that was seen so far."""
        if not self._final:
            self._limit = blocking_limit(tally.usual, len(tally.names["api"]))

    def settle(self, tally: Tally) -> BlockingLimits | None:
        """Return None where every decision stands by the whole report, else the limits for another reading."""
        final = blocking_limit(tally.usual, len(tally.names["api"]))
        if self._final:
            return None
        group, value = self._judged.values()
        keys = list(self._used)
        name = np.array([key[0] for key in keys], np.int64)
        used = np.array([key[1] for key in keys], np.int64)
        if len(group) and np.any((value > used[group]) != (value > final[name[group]])):
            return BlockingLimits(final)
        return None
