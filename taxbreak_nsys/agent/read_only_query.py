"""Runs one SELECT over the tables of an export: read-only, with a row limit."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.schema import KNOWN_TABLES
from taxbreak_nsys.read.select_only import allow_select_only, refuses

LONGEST_STATEMENT = 20_000
_LARGEST_CELL = 1_000_000
_LONGEST_SHOWN = 2000


def print_answer(report: str, limit: str, statement: str) -> None:
    """Print the rows as JSON (`columns`, `rows`, `more`); on failure print one line to stderr and exit with code 2."""
    try:
        print(json.dumps(select_rows(Path(report), statement, int(limit)), ensure_ascii=False))
    except TaxbreakError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def select_rows(report: Path, statement: str, limit: int) -> dict[str, object]:
    """Return the first `limit` rows of a SELECT; raises TaxbreakError if it fails or does anything but read.

    A blob is returned as the text `<N bytes>`, an infinite number as None. There is no time limit here:
    `tool_call.run_call` kills the process.
    """
    from taxbreak_nsys.read.nsys_export import as_export

    if len(statement) > LONGEST_STATEMENT:
        raise TaxbreakError(f"a statement of {len(statement)} characters: the longest is {LONGEST_STATEMENT}")
    file = as_export(report, sqlite=True)
    if file.is_dir():
        raise TaxbreakError(f"{report.name}: a folder of Arrow files has no SQL tables; export a .sqlite of it")
    file_safety.check_file(file, report.name)
    connection = file_safety.connect(file)
    try:
        file_safety.known_tables(connection, KNOWN_TABLES, report.name)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_CELL)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        allow_select_only(connection)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        rows = connection.execute(statement)
        if rows.description is None:
            raise TaxbreakError("not a SELECT; a query only reads")
        columns = [column[0] for column in rows.description]
        cells = [[_cell(value) for value in row] for row in rows.fetchmany(limit)]
        more = rows.fetchone() is not None
    except sqlite3.ProgrammingError as error:
        raise TaxbreakError(f"{error}; give one SELECT") from error
    except sqlite3.DatabaseError as error:
        hint = "a query only reads: SELECT over the tables of the export" if refuses(error) else (
            "SELECT name, sql FROM sqlite_master lists tables and columns"
        )  # fmt: skip
        raise TaxbreakError(f"{error}; {hint}") from error
    finally:
        connection.close()
    return {"columns": columns, "rows": cells, "more": more}


def _cell(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]}…(+{len(value) - _LONGEST_SHOWN} characters)"
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value
