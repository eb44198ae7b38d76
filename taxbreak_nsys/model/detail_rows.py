"""The tables of details that an analysis can make in addition to its phases, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DETAIL_TABLES = ("gaps", "gap_trace", "ranges", "classes", "fusion", "call_tree")
"""The tables that `Options.tables` can ask for."""

Rows = tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class DetailRows:
    """The rows of the requested tables; None for every other table.

    `call_tree` brings `calls`, the tree without callers that only pass a call on. `gaps` brings `gap_summary`, the
    main causes of each phase's idle time. `gap_trace` has columns by name (arrays of one length, or pairs of codes and
    names) instead of rows, because there may be millions of gaps.
    """

    gaps: Rows | None = None
    gap_summary: Rows | None = None
    gap_trace: Mapping[str, Any] | None = None
    ranges: Rows | None = None
    classes: Rows | None = None
    fusion: Rows | None = None
    call_tree: Rows | None = None
    calls: Rows | None = None
