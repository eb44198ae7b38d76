"""Machine-readable formats: CSV, JSON, JSON lines and Parquet of one or several results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.arrow_rows import plain_columns
from taxbreak_nsys.output.csv_text import table_csv
from taxbreak_nsys.output.json_text import json_document, json_text
from taxbreak_nsys.output.result_tables import DEFAULT_REPORT, coded_table, result_table
from taxbreak_nsys.output.shown_rows import RowOrder
from taxbreak_nsys.output.units import UNITS
from taxbreak_nsys.result import json_head

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Result

ROW_GROUP = 1 << 18
"""Rows that are written to a Parquet file at a time: a listing may have millions of rows, most of them on disk."""
_HEAD_KEYS = frozenset(json_head())
_KEYS = {"PID": "process", "TID": "thread"}


def results_json(results: Sequence[Result], names: Sequence[str], order: RowOrder | None = None) -> str:
    """Return one JSON document: the schema, and one object per result under `reports` (docs/json.md)."""
    objects = [report_object(result, names, order) for result in results]
    reports = [{key: value for key, value in data.items() if key not in _HEAD_KEYS} for data in objects]
    return json_document(json_head() | {"reports": reports})


def results_jsonl(results: Sequence[Result], names: Sequence[str], order: RowOrder | None = None) -> str:
    """Return JSON lines: one object per result, each with the schema (docs/json.md)."""
    lines = (json_text(report_object(result, names, order)) for result in results)
    return "".join(f"{line}\n" for line in lines)


def report_object(result: Result, names: Sequence[str], order: RowOrder | None = None) -> dict[str, Any]:
    """Return a result as a JSON object: `Result.to_dict` for the default report, and rows per other named report."""
    data = result.to_dict()
    if DEFAULT_REPORT not in names:
        data = {key: value for key, value in data.items() if key in _HEAD_KEYS or key == "report"}
    for name in names:
        if name != DEFAULT_REPORT:
            table = _table(result, name, order)
            data[str(name)] = table.rename_columns([row_key(field) for field in table.schema]).to_pylist()
    return data


def row_key(column: pa.Field) -> str:
    """Return the JSON key of a column: the key in its metadata, else its title in snake_case (`start_ns`)."""
    if column.metadata and b"key" in column.metadata:
        return str(column.metadata[b"key"].decode())
    return _KEYS.get(column.name) or re.sub(r"\W+", "_", column.name.lower()).strip("_")


def to_csv(results: Sequence[Result], name: str, unit: str | None, order: RowOrder | None = None) -> str:
    """Return CSV with nsys's column names; times are integer ns, or decimal fractions if `unit` is given."""
    return table_csv(in_unit(joined(results, name, order), unit))


def write_parquet(results: Sequence[Result], name: str, path: Path, order: RowOrder | None = None) -> None:
    """Write one named report of all results as Parquet; times are integer ns."""
    import pyarrow.parquet

    from taxbreak_nsys.arrays.mapped_files import release_mapped_pages

    table = _joined(results, name, order, coded=True)
    with pyarrow.parquet.ParquetWriter(path, plain_columns(table.slice(0, 0)).schema) as writer:
        for first in range(0, max(len(table), 1), ROW_GROUP):
            writer.write_table(plain_columns(table.slice(first, ROW_GROUP)))
            release_mapped_pages()


def joined(results: Sequence[Result], name: str, order: RowOrder | None = None) -> pa.Table:
    """Return the rows of one named report of all results; for several results, the column `Report` holds the path."""
    return _joined(results, name, order, coded=False)


def _joined(results: Sequence[Result], name: str, order: RowOrder | None, *, coded: bool) -> pa.Table:
    import pyarrow as pa

    tables = [_table(result, name, order, coded=coded) for result in results]
    if len(tables) == 1:
        return tables[0]
    tables_with_path = [
        table.add_column(0, "Report", pa.array([result.report.path] * len(table), pa.string()))
        for result, table in zip(results, tables, strict=True)
    ]
    return pa.concat_tables(tables_with_path)


def _table(result: Result, name: str, order: RowOrder | None, *, coded: bool = False) -> pa.Table:
    # texts are sorted by what they say, so a table that is sorted has no codes
    by_code = coded and (order is None or order.sort is None)
    table = coded_table(result, name) if by_code else result_table(result, name)
    return table if order is None else order.apply(table)


def in_unit(table: pa.Table, unit: str | None) -> pa.Table:
    """Return the table with times in one of nsys's units, and with that unit in the column titles."""
    if unit in (None, "nsec"):
        return table
    import pyarrow as pa
    import pyarrow.compute as pc

    sign, factor = UNITS[unit]
    for index, title in enumerate(table.column_names):
        if title.endswith("(ns)"):
            scaled = pc.divide(table.column(index).cast(pa.float64()), float(factor))
            table = table.set_column(index, title.replace("(ns)", f"({sign})"), scaled)
    return table
