"""Which CUDA events a report's synchronisations wait for."""

from __future__ import annotations

from dataclasses import dataclass

from taxbreak_nsys.arrays.intervals import Ints


@dataclass(frozen=True)
class EventWaits:
    """Synchronisations by time: `start` (ns of the session), `process` (globalPid) and `event` (nsys's number)."""

    start: Ints
    process: Ints
    event: Ints
