"""Confines a connection of SQLite to reading, for statements that somebody else writes."""

from __future__ import annotations

import sqlite3

_ACTIONS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})


def allow_select_only(connection: sqlite3.Connection) -> None:
    """Let the connection run SELECT only: no change, no PRAGMA, no ATTACH, no function that reaches files."""
    connection.set_authorizer(_authorize)


def refuses(error: Exception) -> bool:
    """Return whether an error of SQLite says that a statement does more than SELECT."""
    return "not authorized" in str(error) or "prohibited" in str(error)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ACTIONS else sqlite3.SQLITE_DENY
