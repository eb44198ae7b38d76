"""Detects lost events from nsys's messages and from the numbers of rows in a report."""

from __future__ import annotations

from taxbreak_nsys.read.database import Database

_DEVICE_TABLES = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
_TABLES = {
    "cuda": ("CUPTI_ACTIVITY_KIND_RUNTIME", *(f"CUPTI_ACTIVITY_KIND_{kind}" for kind in _DEVICE_TABLES)),
    "nvtx": ("NVTX_EVENTS",),
    "osrt": ("OSRT_API",),
}
"""Tables whose rows nsys counts as collected events, by trace."""

_FEWER = 20
"""Events count as lost if more than one in this many collected events has no row."""


def lost_events(database: Database) -> dict[str, str]:
    """Return {trace: evidence} of the traces (`cuda`, `nvtx`, `osrt`, `other`) that lost events.

    nsys 2024 writes "not all events might have been collected" into every report of a child process. This message
    counts only if the report has fewer rows than the number of events that nsys states as collected.
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
