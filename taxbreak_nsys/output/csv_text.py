"""CSV that is safe to open in a spreadsheet: texts from a report cannot become formulas or terminal sequences."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

RAW_CSV: ContextVar[bool] = ContextVar("RAW_CSV", default=False)
"""If True, texts are written unchanged (`--raw-csv`)."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160))}


def safe_cell(text: str) -> str:
    """Return a text as a cell, with `'` in front if a spreadsheet would read it as a formula or it has control codes.

    Control characters other than tab and line ends are escaped (`\\x1b`).
    """
    if text.startswith(_FORMULA):
        return "'" + text.translate(_CONTROL)
    return text if text.isprintable() else _escaped(text)


def _escaped(text: str) -> str:
    escaped = text.translate(_CONTROL)
    return escaped if escaped == text else "'" + escaped


def rows_csv(titles: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV of plain rows; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    raw = RAW_CSV.get()
    for row in ([*titles], *rows):
        writer.writerow(
            ["" if cell is None else safe_cell(cell) if isinstance(cell, str) and not raw else cell for cell in row]
        )
    return buffer.getvalue()


def rows_to_csv(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Return CSV with a column per key of `titles`, named by its title; an absent value is an empty cell."""
    return rows_csv(titles.values(), ([row[key] for key in titles] for row in rows))


def table_csv(table: pa.Table) -> str:
    """Return CSV of an Arrow table of numbers and texts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    if not RAW_CSV.get():
        for index, field in enumerate(table.schema):
            column = table.column(index)
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                codes = column.combine_chunks().dictionary_encode()
                encoded = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
                cells = [None if text is None else safe_cell(text) for text in encoded.dictionary.to_pylist()]
                table = table.set_column(index, field.name, pc.take(pa.array(cells, pa.string()), encoded.indices))
        table = table.rename_columns([safe_cell(name) for name in table.column_names])
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(table, buffer)
    return buffer.getvalue().decode()
