"""Build the outline of a report's launches, which finding phases needs, from its pieces."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.totals.warning_facts import Piece

_LAUNCH_COLUMNS = ("thread", "start", "computes", "ops_end", "device")
_CALL_COLUMNS = ("call_thread", "call_start", "call_end")


class OutlineCollector:
    """Keeps the columns of `LaunchOutline`, each launch and call of the report once."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Ints]] = []

    def add(self, piece: Piece) -> None:
        """Take the launches that the piece owns, and the API calls that start in it."""
        api = piece.columns.trace.api
        outline = LaunchOutline.over(piece.columns.trace, piece.columns.launches)
        starts_here = api.start >= piece.since
        self._parts.append(
            {name: getattr(outline, name)[piece.own] for name in _LAUNCH_COLUMNS}
            | {name: getattr(outline, name)[starts_here] for name in _CALL_COLUMNS}
        )

    def outline(self) -> LaunchOutline:
        """Return the outline of the report."""
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        by_time = np.lexsort((columns["start"], columns["thread"]))
        calls = np.lexsort((columns["call_start"], columns["call_thread"]))
        order = dict.fromkeys(_LAUNCH_COLUMNS, by_time) | dict.fromkeys(_CALL_COLUMNS, calls)
        return LaunchOutline(**{name: column[order[name]] for name, column in columns.items()})
