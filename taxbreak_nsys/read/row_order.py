"""Samples long tables to see whether their rows are sorted by time; nsys 2025.6 and later promise no order."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.report_reader import TABLES
from taxbreak_nsys.read.sample_reader import SAMPLES

_SAMPLES = 500
_FROM_ROWS = 20_000
"""Shorter tables are not sampled: their readers notice unsorted rows soon enough."""


def unsorted_tables(database: Database) -> frozenset[str]:
    """Return the long tables that are not sorted by time, judged by 500 evenly spaced rows of each.

    A table with a few misplaced rows may pass; its reader then raises WrongAssumption.
    """
    unsorted = set()
    for table in {*TABLES, SAMPLES}:
        if database.layout.rows.get(table, 0) >= _FROM_ROWS:
            sampled = numbers(database.starts(table, _SAMPLES)["start_ns"])
            if np.any(sampled[1:] < sampled[:-1]):
                unsorted.add(table)
    return frozenset(unsorted)
