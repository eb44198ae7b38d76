"""Reads which CUDA events the synchronisations of a report wait for."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import FOREVER, Intervals
from taxbreak_nsys.model.event_waits import EventWaits
from taxbreak_nsys.read.database import Database

TABLE = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"
_MOST_ROWS = 2_000_000
"""Rows of the table up to which it is read: those of the stretch are kept all at once, 24 bytes each."""


def read_event_waits(database: Database, spans: Intervals | None) -> EventWaits | None:
    """Return the synchronisations from the first of some spans (ns) to the last; None: of the whole report.

    Returns None where the report has no such table, or too long a one.
    """
    if TABLE not in database.schema or not 0 < database.layout.rows.get(TABLE, 0) <= _MOST_ROWS:
        return None
    low, high = (0, FOREVER) if spans is None or not len(spans[0]) else (int(spans[0].min()), int(spans[1].max()))
    table = database.query("event_waits", **{"from": str(low), "until": str(high)})
    start, process, event = (numbers(table[name]) for name in ("start_ns", "process", "event"))
    order = np.argsort(start, kind="stable")
    return EventWaits(start=start[order], process=process[order], event=event[order])
