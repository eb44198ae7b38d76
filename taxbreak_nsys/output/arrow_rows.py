"""Rows of plain data as Arrow tables under nsys's column titles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

HEAD_TITLES = {"phase": "Phase", "process": "PID", "thread": "TID"}
"""The columns that identify the phase, process and thread of a row."""


def rows_table(rows: Iterable[dict[str, Any]], titles: dict[str, str]) -> pa.Table:
    """Return rows as a table with a column per key of `titles`, named by its title; the type depends on the key."""
    import pyarrow as pa

    rows = list(rows)
    # JSON output uses the key instead of the title
    schema = pa.schema([pa.field(title, _type(key), metadata={"key": key}) for key, title in titles.items()])
    columns = [pa.array([_cell(row[key]) for row in rows], schema.field(title).type) for key, title in titles.items()]
    return pa.Table.from_arrays(columns, schema=schema)


_TEXT_KEYS = frozenset(
    {
        *("phase", "name", "operator", "why", "target", "verdict", "evidence", "hdbi_reason", "state"),
        *("phase_source", "library_bound", "layer", "kind", "module", "file", "symbol"),
        *("range", "path", "class", "title", "kernel_names", "pattern", "replay_reason"),
    }
)
_REAL_KEYS = frozenset(
    {
        *("hdbi", "hdbi_without_profiler", "hdbi_corrected", "dilation"),
        *("phase_confidence", "time_percent", "exposed_percent", "device_busy_percent"),
        "replay_percent",
        *("kernels_per_token", "launches_per_token"),
    }
)
_TRUTH_KEYS = frozenset({"library_mediated"})


def _type(key: str) -> pa.DataType:
    import pyarrow as pa

    if key in _TEXT_KEYS:
        return pa.string()
    if key in _REAL_KEYS:
        return pa.float64()
    return pa.bool_() if key in _TRUTH_KEYS else pa.int64()


def _cell(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def percent_share(share: float | None) -> float | None:
    """Return a share in per cent, to one decimal; None stays None."""
    return None if share is None else round(100 * share, 1)


def stats_titles(prefix: str, lead: str = "") -> dict[str, str]:
    """Return the titles of a column's statistics by key: average, median, minimum, maximum."""
    return {
        f"{prefix}_avg_ns": f"{lead}Avg (ns)",
        f"{prefix}_med_ns": f"{lead}Med (ns)",
        f"{prefix}_min_ns": f"{lead}Min (ns)",
        f"{prefix}_max_ns": f"{lead}Max (ns)",
    }


def dictionary_column(codes: Any, names: Sequence[str | None]) -> pa.Array:
    """Return the names that codes stand for, each kept once; `plain_columns` makes strings of them."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))


def plain_columns(table: pa.Table) -> pa.Table:
    """Return a table with plain texts and numbers for values by code, because CSV cannot write dictionary columns."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(index).cast(field.type.value_type)
            table = table.set_column(index, field.with_type(field.type.value_type), column)
    return table
