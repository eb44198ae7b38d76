"""A shorter call tree for readers: frames that only pass a call on are left out."""

from __future__ import annotations

from collections.abc import Sequence

from taxbreak_nsys.totals.listing_rows import Row

_OWN = ("samples", "exposed_samples", "ns", "exposed_ns")


def folded_calls(rows: Sequence[Row], depth: int | None = None) -> list[Row]:
    """Return the rows of a call tree without the frames that have no own samples and exactly one callee.

    The `depth` of a row is renumbered without the frames left out. Rows deeper than the argument `depth` are left out
    as well, and their figures count as own figures of the row above. The sum of the own times does not change.
    """
    callees: dict[tuple[object, ...], int] = {}
    for row in rows:
        callees[_place(row, row["parent"])] = callees.get(_place(row, row["parent"]), 0) + 1
    folded: list[Row] = []
    level: dict[tuple[object, ...], int] = {}
    for row in rows:
        own = _place(row, row["row"])
        above = level.get(_place(row, row["parent"]), 0)
        if not row["self_samples"] and callees.get(own, 0) == 1:
            level[own] = above
            continue
        level[own] = above + 1
        if depth is not None and level[own] > depth:
            continue
        folded_row = row | {"depth": level[own]}
        if depth is not None and level[own] == depth:
            folded_row |= {f"self_{name}": row["total_ns" if name == "ns" else name] for name in _OWN}
        folded.append(folded_row)
    return folded


def _place(row: Row, number: int | None) -> tuple[object, ...]:
    return row["phase"], row["process"], row["thread"], number
