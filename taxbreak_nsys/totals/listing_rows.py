"""What the rows of the listings by kernel, operator and call have in common."""

from __future__ import annotations

from typing import Any

from taxbreak_nsys.arrays.grouped import ValueStats
from taxbreak_nsys.phases.phase_threads import PhaseThreads

Row = dict[str, Any]

NO_SPLIT = ("none", "samples")
"""Evidence that cannot tell framework from library for one kernel or operator: samples are too few for that."""


def head(entries: PhaseThreads, entry: int) -> Row:
    """Return whose row it is."""
    return dict(zip(("phase", "process", "thread"), entries.key(entry), strict=True))


def stats_row(prefix: str, of: ValueStats | None) -> Row:
    """Return the figures of some durations, ns; null where there are none."""
    return {
        f"{prefix}_ns": of and of.total,
        f"{prefix}_avg_ns": of and of.total // of.count,
        f"{prefix}_med_ns": of and of.median,
        f"{prefix}_min_ns": of and of.least,
        f"{prefix}_max_ns": of and of.largest,
    }
