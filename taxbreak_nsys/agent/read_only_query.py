"""Runs one SELECT over the tables of an export: read-only, with a row limit."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote

from taxbreak_nsys.errors import TaxbreakError

LONGEST_STATEMENT = 20_000
_ALLOWED = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)  # fmt: skip
_REFUSED_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "fts3_tokenizer", "edit"})
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

    A blob is returned as the text `<N bytes>`. There is no time limit here: `tool_call.run_call` kills the process.
    """
    from taxbreak_nsys.read.nsys_export import as_export

    if len(statement) > LONGEST_STATEMENT:
        raise TaxbreakError(f"a statement of {len(statement)} characters: the longest is {LONGEST_STATEMENT}")
    file = as_export(report, sqlite=True)
    if file.is_dir():
        raise TaxbreakError(f"{report.name}: a folder of Arrow files has no SQL tables; export a .sqlite of it")
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_CELL)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA temp_store = MEMORY")  # a large sort must not fill the disk
        connection.set_authorizer(_authorize)
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
        refused = "not authorized" in str(error) or "prohibited" in str(error)
        hint = "a query only reads: SELECT over the tables of the export" if refused else (
            "SELECT name, sql FROM sqlite_master lists tables and columns"
        )  # fmt: skip
        raise TaxbreakError(f"{error}; {hint}") from error
    finally:
        connection.close()
    return {"columns": columns, "rows": cells, "more": more}


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _cell(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]}…(+{len(value) - _LONGEST_SHOWN} characters)"
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value
