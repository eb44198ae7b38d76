"""A cheap look at whether a report's long tables are in the order of time; nsys 2025.6 and later promise no order."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.report_reader import TABLES
from taxbreak_nsys.read.sample_reader import SAMPLES

_SAMPLES = 500
_FROM_ROWS = 20_000
"""Shorter tables are not looked at: if they are out of order, it shows when they are read."""


def unsorted_tables(database: Database) -> frozenset[str]:
    """Return the long tables whose rows are seen to be out of the order of time, by 500 rows of each.

    A table with a few misplaced rows may pass; its reader then raises WrongAssumption.
    """
    unsorted = set()
    for table in {*TABLES, SAMPLES}:
        if database.layout.rows.get(table, 0) >= _FROM_ROWS:
            sampled = numbers(database.starts(table, _SAMPLES)["start_ns"])
            if np.any(sampled[1:] < sampled[:-1]):
                unsorted.add(table)
    return frozenset(unsorted)
