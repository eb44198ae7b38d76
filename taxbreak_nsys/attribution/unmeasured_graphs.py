"""Why CUDA graph launches have no device time: graphs were not traced, or nsys lost the rows of single launches."""

from __future__ import annotations

from taxbreak_nsys.result import LaunchCounts

_FEW = 10
"""Rows are lost, and graphs are traced, where at most one graph launch in this many has none."""

NOT_TRACED = "capture with --cuda-graph-trace=node"
LOST = "leave that step out with --start/--end or --skip, or capture again"


def rows_lost(launches: LaunchCounts) -> bool:
    """Return whether only few of a phase's graph launches have no device row: the others show that nsys traces them."""
    return 0 < launches.unmeasured_graph * _FEW <= launches.graph


def why_unmeasured(launches: LaunchCounts) -> str | None:
    """Return why a phase's device time is not measured, and what to do about it; None where every graph has rows."""
    missing = launches.unmeasured_graph
    if not missing:
        return None
    counted = f"{missing} of {launches.graph} CUDA graph launches {'has' if missing == 1 else 'have'} no device row"
    if not rows_lost(launches):
        return f"{counted}; {NOT_TRACED}"
    lost, remedy = ("it", LOST) if missing == 1 else ("them", LOST.replace("that step", "those steps"))
    return f"{counted}: nsys lost {lost}; {remedy}"
