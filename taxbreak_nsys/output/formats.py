"""The machine's formats: CSV, JSON and Parquet of one or several results."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taxbreak_nsys.output.result_tables import DEFAULT_REPORT, result_table
from taxbreak_nsys.output.units import UNITS

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Result

FORMATS = ("table", "csv", "json", "parquet")


def results_json(results: Sequence[Result], report: str) -> str:
    """Return JSON: for the default report the object of method section 7, indented for one result and one a
    line for several; for the others the rows as nsys's column names have them.
    """
    if report == DEFAULT_REPORT:
        if len(results) == 1:
            return results[0].to_json() + "\n"
        return "".join(result.to_json(indent=None) + "\n" for result in results)
    rows = joined(results, report).to_pylist()
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def to_csv(results: Sequence[Result], report: str, unit: str | None) -> str:
    """Return CSV with nsys's column names; times in ns, or in the unit given (then as decimal fractions)."""
    import pyarrow.csv

    buffer = io.BytesIO()
    pyarrow.csv.write_csv(in_unit(joined(results, report), unit), buffer)
    return buffer.getvalue().decode()


def write_parquet(results: Sequence[Result], report: str, path: Path) -> None:
    """Write Parquet; times stay integer ns."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(joined(results, report), path)


def joined(results: Sequence[Result], report: str) -> pa.Table:
    """Return one table of several results; where there is more than one, `Report` says which row is whose."""
    import pyarrow as pa

    tables = [result_table(result, report) for result in results]
    if len(tables) == 1:
        return tables[0]
    named = [
        table.add_column(0, "Report", pa.array([result.report.path] * len(table), pa.string()))
        for result, table in zip(results, tables, strict=True)
    ]
    return pa.concat_tables(named)


def in_unit(table: pa.Table, unit: str | None) -> pa.Table:
    """Return the table with its times in an nsys unit, and their titles with it."""
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
