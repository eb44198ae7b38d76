"""Writes any table of rows: as text for the terminal, CSV, JSON, JSON lines, Markdown or Parquet."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.csv_text import table_csv
from taxbreak_nsys.output.json_text import json_text

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 50


def check_format(format: str, output: Path | None, force: bool) -> None:
    """Raise TaxbreakError if the output cannot be written; commands call this before the work starts."""
    from taxbreak_nsys.output.output_files import check_target

    if format == "parquet" and output is None:
        raise TaxbreakError("-f parquet needs -o FILE")
    if output is not None:
        check_target(output, force)


def put_rows(
    table: pa.Table, format: str, output: Path | None, *, force: bool, quiet: bool, brief: Sequence[str] | None = None
) -> None:
    """Write a table to a file or standard output.

    The format `table` shows only the first `MOST_ROWS` rows, and only the columns in `brief` if it is given.
    """
    from taxbreak_nsys.output.output_files import write_whole

    if format == "parquet":
        import pyarrow.parquet

        assert output is not None
        write_whole(output, lambda path: pyarrow.parquet.write_table(table, path), force=force)
    else:
        if format == "table" and brief is not None:
            table = table.select([name for name in table.column_names if name in brief])
        text = {"csv": _csv, "json": _json, "jsonl": _jsonl, "table": _text, "markdown": _markdown}[format](table)
        if output is None:
            sys.stdout.write(text)
            return
        write_whole(output, lambda path: path.write_text(text, encoding="utf-8"), force=force)
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)


def table_of_rows(names: Sequence[str], rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table; a column whose values have no common type becomes text."""
    import pyarrow as pa

    columns = []
    for index, name in enumerate(names):
        cells = [row[name] if isinstance(row, Mapping) else row[index] for row in rows]
        try:
            columns.append(pa.array(cells))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            columns.append(pa.array([None if cell is None else str(cell) for cell in cells], pa.string()))
    return pa.Table.from_arrays(columns, names=list(names))


def _markdown(table: pa.Table) -> str:
    from taxbreak_nsys.output.markdown import columns_markdown

    return columns_markdown(table, MOST_ROWS)


def _csv(table: pa.Table) -> str:
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or pa.types.is_null(field.type) or pa.types.is_binary(field.type):
            # CSV has no tag maps, lists, bytes or columns without a type
            texts = [None if cell is None else _plain(cell) for cell in table.column(index).to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    return table_csv(table)


def _json(table: pa.Table) -> str:
    return json_text(table.to_pylist(), indent=1) + "\n"


def _jsonl(table: pa.Table) -> str:
    return "".join(f"{json_text(row)}\n" for row in table.to_pylist())


def _plain(cell: Any) -> str:
    return cell if isinstance(cell, str) else cell.hex() if isinstance(cell, bytes) else json_text(cell)


def _text(table: pa.Table) -> str:
    import pyarrow as pa
    from rich.table import Table

    from taxbreak_nsys.output.console import printable, text_console
    from taxbreak_nsys.output.plain_rows import console_text

    console = text_console()
    grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for field in table.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        grid.add_column(
            printable(field.name.removesuffix(" (ns)")), justify="right" if number else "left", no_wrap=number,
            overflow="fold",
        )  # fmt: skip
    for row in table.slice(0, MOST_ROWS).to_pylist():
        grid.add_row(*(_cell(name, value) for name, value in row.items()))
    console.print(grid)
    if len(table) > MOST_ROWS:
        console.print(f"{len(table) - MOST_ROWS} more rows; -f csv or -f parquet has them all")
    return console_text(console)


def _cell(name: str, value: Any) -> str:
    from taxbreak_nsys.output.console import printable
    from taxbreak_nsys.output.units import show_time

    if value is None:
        return "-"
    if name.endswith("(ns)") and isinstance(value, int):
        return show_time(value)
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.1f}"
    return printable(_plain(value) if isinstance(value, (list, dict, bytes)) else str(value))
