"""Whether nsys lost events of a trace: by its own messages, and by the rows that a report should have."""

from __future__ import annotations

from taxbreak_nsys.read.database import Database

_DEVICE_TABLES = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
_TABLES = {
    "cuda": ("CUPTI_ACTIVITY_KIND_RUNTIME", *(f"CUPTI_ACTIVITY_KIND_{kind}" for kind in _DEVICE_TABLES)),
    "nvtx": ("NVTX_EVENTS",),
    "osrt": ("OSRT_API",),
}
"""The tables that nsys's counts of collected events are about."""

_FEWER = 20
"""Rows are missing where they are fewer than the events collected by one part in this many."""


def lost_events(database: Database) -> dict[str, str]:
    """Return for each trace (`cuda`, `nvtx`, `osrt`, `other`) that lost events how that is known.

    That not all events "might have been collected" stands in every report of a child process (nsys 2024): it counts
    only where the report has fewer rows than nsys says it collected.
    """
    lost: dict[str, str] = {}
    for row in database.query("diagnostics").to_pylist():
        what, collected = str(row["what"]), int(row["collected"] or 0)
        rows = sum(database.layout.rows.get(table, 0) for table in _TABLES.get(what, ()))
        if row["certain"]:
            lost[what] = "nsys says so"
        elif row["possible"] and (collected - rows) * _FEWER > collected:
            lost[what] = f"nsys collected {collected} events, the report holds {rows}"
    return lost
