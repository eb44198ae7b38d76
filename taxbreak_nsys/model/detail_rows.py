"""Which tables of details an analysis makes beside its phases, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DETAIL_TABLES = ("gaps", "gap_trace", "ranges", "classes", "fusion", "call_tree")
"""The tables that `Options.tables` can ask for."""

Rows = tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class DetailRows:
    """The rows of the tables that were asked for; None for a table that was not.

    `calls` comes with `call_tree`: the tree without callers that only pass a call on. `gap_summary` comes with `gaps`:
    what makes most of each phase's idle time. `gap_trace` holds columns by name (arrays of one length, or pairs of
    codes and names) instead of rows: there may be millions of gaps.
    """

    gaps: Rows | None = None
    gap_summary: Rows | None = None
    gap_trace: Mapping[str, Any] | None = None
    ranges: Rows | None = None
    classes: Rows | None = None
    fusion: Rows | None = None
    call_tree: Rows | None = None
    calls: Rows | None = None
