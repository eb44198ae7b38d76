"""Runs one SELECT of the user for `store query`; it can neither change the store nor reach anything else."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.listing import table_of_rows
from taxbreak_nsys.read.select_only import allow_select_only, refuses
from taxbreak_nsys.store.store_opening import Store

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 2_000_000
"""Limit of a result's rows; `store export --parquet` has none."""

_ONLY_SELECT = "'store query' runs one SELECT, which may not write, attach or set anything"
_ROWS_PER_FETCH = 10_000
_LONGEST_VALUE = 64 << 20
_STEPS_BETWEEN_CHECKS = 20_000  # virtual machine instructions of SQLite: under a millisecond
_HARMLESS_VOLATILE = ("random", "setseed", "clock_timestamp", "timeofday", "pg_sleep", "gen_random_uuid")
_WORD = re.compile(r"[a-z_][\w$]*", re.IGNORECASE)

Rows = tuple[Sequence[str], list[tuple[Any, ...]]]


def run_select(store: Store, sql: str, timeout_s: float) -> pa.Table:
    """Return the rows of the user's statement, run on a store that is open for reading.

    Raises TaxbreakError where the statement is wrong (with the database's message), is no single SELECT, selects more
    than MOST_ROWS rows or takes longer than `timeout_s` seconds; KeyboardInterrupt at Ctrl-C.
    """
    if "\0" in sql or not sql.isascii():
        try:
            sql.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TaxbreakError("the statement is not UTF-8") from error
        if "\0" in sql:
            raise TaxbreakError("the statement holds a NUL")
    deadline = time.monotonic() + timeout_s
    sqlite = store.engine.dialect.name == "sqlite"
    with store.begin() as connection:
        raw: Any = connection.connection.driver_connection
        names, rows = (_from_sqlite if sqlite else _from_postgresql)(raw, sql, deadline, timeout_s, store.shown)
    return table_of_rows(_distinct(names), rows)


def _too_long(shown: str, timeout_s: float) -> TaxbreakError:
    return TaxbreakError(f"{shown}: the statement takes longer than {timeout_s:g} s; give more with --timeout")


def _gathered(part: Callable[[], list[tuple[Any, ...]]], shown: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    while some := part():
        rows += some
        if len(rows) > MOST_ROWS:
            raise TaxbreakError(
                f"{shown}: the statement selects more than {MOST_ROWS:,} rows; add LIMIT, or use "
                "'store export --parquet FOLDER'"
            )
    return rows


def _from_sqlite(raw: sqlite3.Connection, sql: str, deadline: float, timeout_s: float, shown: str) -> Rows:
    try:
        with _confined(raw, deadline):
            cursor = raw.execute(sql)
            if cursor.description is None:
                raise TaxbreakError(f"{shown}: {_ONLY_SELECT}")
            names = [column[0] for column in cursor.description]
            return names, _gathered(lambda: cursor.fetchmany(_ROWS_PER_FETCH), shown)
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "interrupted" in str(error):
            if time.monotonic() < deadline:
                raise KeyboardInterrupt from error
            raise _too_long(shown, timeout_s) from error
        if refuses(error) or "one statement" in str(error):
            raise TaxbreakError(f"{shown}: {_ONLY_SELECT} ({error})") from error
        raise TaxbreakError(f"{shown}: {error}") from error


@contextmanager
def _confined(raw: sqlite3.Connection, deadline: float) -> Iterator[None]:
    """Restrict a connection to SELECT until the deadline, interruptible by Ctrl-C.

    Python handles no signals while SQLite runs, except in a callback: in the progress handler a pending Ctrl-C raises
    KeyboardInterrupt, and SQLite then stops the statement.
    """
    raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    raw.text_factory = lambda content: content.decode("utf-8", "replace")
    allow_select_only(raw)
    raw.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS_BETWEEN_CHECKS)
    try:
        yield
    finally:
        raw.set_authorizer(None)
        raw.set_progress_handler(None, 0)
        raw.text_factory = str


def _from_postgresql(raw: Any, sql: str, deadline: float, timeout_s: float, shown: str) -> Rows:
    """Run the statement as a server-side cursor: DECLARE CURSOR accepts one SELECT, VALUES or TABLE only.

    With binary results psycopg uses the extended protocol, in which the server accepts a single statement. The
    transaction is read-only, but volatile functions can act outside of it: they are refused by name.
    """
    import psycopg

    def limit(cursor: Any) -> None:
        left = max(1, round(1000 * (deadline - time.monotonic())))
        cursor.execute(f"SET LOCAL statement_timeout = {left}")

    with raw.cursor() as cursor:
        try:
            limit(cursor)
            _check_functions(cursor, sql, shown)
            cursor.execute("DECLARE taxbreak_query NO SCROLL CURSOR FOR " + sql, binary=True)
            cursor.execute("FETCH 0 FROM taxbreak_query")
            names = [column.name for column in cursor.description]

            def part() -> list[tuple[Any, ...]]:
                limit(cursor)
                cursor.execute(f"FETCH {_ROWS_PER_FETCH} FROM taxbreak_query")
                return [tuple(map(_number, row)) for row in cursor.fetchall()]

            return names, _gathered(part, shown)
        except psycopg.errors.QueryCanceled as error:
            raise _too_long(shown, timeout_s) from error
        except (psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported) as error:
            reason = str(error).strip().split("\n")[0]
            raise TaxbreakError(f"{shown}: {reason}; {_ONLY_SELECT}") from error
        except psycopg.Error as error:
            raise TaxbreakError(f"{shown}: {str(error).strip().split(chr(10))[0]}") from error


def _check_functions(cursor: Any, sql: str, shown: str) -> None:
    """Raise TaxbreakError where the statement names a volatile function: one may write, read files or run SQL.

    A name counts even inside a string literal, because server settings change which text is a literal.
    """
    if "u&" in sql.lower():
        raise TaxbreakError(f"{shown}: {_ONLY_SELECT}; U& would hide names, write the characters themselves")
    words = sorted({word.lower() for word in _WORD.findall(sql)} - set(_HARMLESS_VOLATILE))
    cursor.execute(
        "SELECT proname FROM pg_catalog.pg_proc WHERE provolatile = 'v' AND lower(proname) = ANY(%s) LIMIT 1", (words,)
    )
    match = cursor.fetchone()
    if match is not None:
        raise TaxbreakError(f"{shown}: {_ONLY_SELECT}; {match[0]} is a function that can do more than select")


def _number(value: Any) -> Any:
    """Return PostgreSQL's decimals as int or float, as SQLite returns such sums; other values unchanged."""
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return value


def _distinct(names: Sequence[str]) -> list[str]:
    """Return column names made unique: a repeated name gets a number, as in `name_2`."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return result
