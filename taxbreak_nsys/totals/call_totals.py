"""Sums over the API calls of each phase by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums, ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.listing_rows import Row, head, stats_row


class CallTotals:
    """API calls by name and entry; groups are name * entries + entry."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._duration = ValueCounts()
        self._sums = GroupSums("launches", "blocked")

    def add(self, columns: Measured, call_entry: Ints) -> None:
        """Add a piece with the entry of each of its calls."""
        api, launches = columns.trace.api, columns.launches
        calls = np.flatnonzero(call_entry >= 0)
        group = api.name * len(self._entries) + call_entry
        self._duration.add(group[calls], (api.end - api.start)[calls])
        in_phase = call_entry[launches.api] >= 0
        self._sums.add(
            group[launches.api[in_phase]], launches=1, blocked=(launches.wait_until - launches.start)[in_phase]
        )  # fmt: skip

    def rows(self, names: Sequence[str]) -> list[Row]:
        """Return a row per API call name and entry, longest total first; `blocked_ns` is the wait for the device."""
        durations, sums = self._duration.stats(), self._sums.table()
        totals = [0] * len(self._entries)
        for group, stats in durations.items():
            totals[group % len(self._entries)] += stats.total
        rows: list[list[Row]] = [[] for _ in totals]
        for group, stats in durations.items():
            name, entry = divmod(group, len(self._entries))
            launched = sums.get(group, {"launches": 0, "blocked": 0})
            rows[entry].append(
                head(self._entries, entry)
                | {"name": names[name], "instances": stats.count, "launches": launched["launches"]}
                | {"share": stats.total / totals[entry] if totals[entry] else None}
                | stats_row("total", stats)
                | {"blocked_ns": launched["blocked"]}
            )
        return [
            row for entry_rows in rows for row in sorted(entry_rows, key=lambda row: (-row["total_ns"], row["name"]))
        ]
