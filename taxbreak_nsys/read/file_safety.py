"""Checks a file before it is read: complete, not being written, plain tables only, readable in bounded time.

Reports come from crashed runs and from strangers. SQLite tolerates damaged and hostile files but may never finish:
a B-tree whose pages point back at each other has endless rows. The checks run on a connection that can be
interrupted; the Arrow driver's cannot, so it opens the file only after the checks.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from taxbreak_nsys.arrays.thread_start import start_thread
from taxbreak_nsys.errors import NoSuchFileError, TaxbreakError, is_memory_error

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_HOT_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_SECONDS = 5
_BYTES_PER_SECOND = 5_000_000
_LEAST_ROW_BYTES = 4
_LONGEST_SCHEMA_TEXT = 1 << 24
_LARGEST_HOLE = 1 << 30
_LEAST_DENSITY = 64
"""A file this many times larger than its blocks on disk is sparse: no file system compresses an export so much."""

SETTINGS = ("PRAGMA trusted_schema=OFF", "PRAGMA cell_size_check=ON", "PRAGMA temp_store=MEMORY")
"""Pragmas of every connection to a report."""
SORTING = ("PRAGMA temp_store=FILE",)
"""Further pragmas of a connection that sorts long tables: the sorter spills to temporary files."""


def uri(path: Path) -> str:
    """Return the URI that opens a file read-only and immutable: SQLite writes neither it nor files beside it."""
    return f"file:{quote(os.fsencode(path.resolve()))}?mode=ro&immutable=1"


def check_file(path: Path, file: str) -> None:
    """Raise TaxbreakError where a file is no complete SQLite file or another program is still writing it.

    `file` is the name for messages.
    """
    _check_name(file)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise TaxbreakError(f"{file}: is a folder, not a report")
        if not stat.S_ISREG(mode):
            raise TaxbreakError(f"{file}: is not a regular file; give a report that lies on a disk")
        with path.open("rb") as opened:
            header = opened.read(_HEADER_BYTES)
            status = os.fstat(opened.fileno())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchFileError(f"{file}: no such file") from error
    except OSError as error:
        raise TaxbreakError(f"{file}: cannot be read ({error.strerror}); check its name and permissions") from error
    if not header:
        raise TaxbreakError(f"{file}: is empty; export the report again")
    if header[: len(_MAGIC)] != _MAGIC:
        raise TaxbreakError(
            f"{file}: not an SQLite file; give a .nsys-rep or what 'nsys export -t sqlite REPORT.nsys-rep' writes"
        )
    _check_size(file, header, status.st_size)
    _check_hole(file, status)
    _check_companions(path, file)


def check_folder(path: Path, folder: str) -> list[Path]:
    """Return the files of a folder of tables; raises TaxbreakError for what is no file: a pipe would block a reader.

    `folder` is the name for messages.
    """
    try:
        files = sorted(path.iterdir())
        for file in files:
            if not stat.S_ISREG(file.stat().st_mode):
                raise TaxbreakError(
                    f"{folder}: {_shown(file.name)} in it is not a regular file; export the report again"
                )
    except OSError as error:
        raise TaxbreakError(f"{folder}: cannot be read ({error.strerror}); check its files and permissions") from error
    return files


def _check_name(file: str) -> None:
    try:
        file.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(file).decode("utf-8", "backslashreplace")
        raise TaxbreakError(f"{shown}: the name or its folder's is not UTF-8; rename it") from error
    if "\0" in file:
        raise TaxbreakError(f"{file}: no such file (a NUL in its name)")


def _check_size(file: str, header: bytes, size: int) -> None:
    """Compare the size with the number of pages in the header, before anything else is read.

    The header's page count is valid if its two change counters agree, as every SQLite since 2010 leaves them. Bytes
    behind the last page do not belong to the database, but would have to be hashed.
    """
    if len(header) < _HEADER_BYTES:
        raise TaxbreakError(f"{file}: cut short ({size} bytes); export the report again")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if page < 512 or page & (page - 1) or header[24:28] != header[92:96]:
        raise TaxbreakError(f"{file}: its header is damaged (page size, change counters); export the report again")
    if pages * page < size:
        raise TaxbreakError(
            f"{file}: {size - pages * page} bytes lie behind its last page (its header has {pages} pages of {page} "
            "bytes); export the report again"
        )
    if pages * page > size:
        raise TaxbreakError(
            f"{file}: cut short ({size} of {pages * page} bytes; a full disk or a broken copy); export the report again"
        )


def _check_hole(file: str, status: os.stat_result) -> None:
    """Refuse a large sparse file: it takes almost no disk space, but hours to read."""
    on_disk = status.st_blocks * 512
    if status.st_size > _LARGEST_HOLE and 0 < on_disk < status.st_size // _LEAST_DENSITY:
        raise TaxbreakError(
            f"{file}: holds {on_disk} bytes and is {status.st_size} long, the rest is a hole; export the report again"
        )


def _check_companions(path: Path, file: str) -> None:
    """Refuse a file with a write-ahead log or journal: an immutable connection would miss the changes in it."""
    try:
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size:
            raise TaxbreakError(
                f"{file}: another program has it open or left changes in {log.name}; close that program, or give a "
                "copy made with sqlite3's VACUUM INTO"
            )
        journal = path.with_name(path.name + "-journal")
        if journal.is_file():
            with journal.open("rb") as opened:
                hot = opened.read(len(_HOT_JOURNAL)) == _HOT_JOURNAL
            if hot:
                raise TaxbreakError(
                    f"{file}: its export was broken off or still runs ({journal.name} lies beside it); wait, or export "
                    "the report again"
                )
    except OSError as error:
        raise TaxbreakError(f"{file}: cannot be read ({error.strerror}); check the folder's permissions") from error


def connect(path: Path) -> sqlite3.Connection:
    """Return a read-only, immutable connection to a checked file; its schema is not trusted."""
    connection = sqlite3.connect(uri(path), uri=True, check_same_thread=False, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_SCHEMA_TEXT)
    for statement in SETTINGS:
        connection.execute(statement)
    return connection


def allowed_seconds(path: Path) -> float:
    """Return the seconds that reading a file may take: enough for a slow disk, few for a small hostile file."""
    return _SECONDS + path.stat().st_size / _BYTES_PER_SECOND


def broken(file: str, error: Exception) -> TaxbreakError:
    """Return the TaxbreakError for an error of SQLite or its driver while a file is read."""
    if is_memory_error(error):
        return TaxbreakError(f"{file}: not enough memory to read it; raise the limit, or choose less with --start")
    reason = str(error).removeprefix("IO: Failed to step query: ")
    if reason == "interrupted":
        reason = "it takes longer to read than a file of its size can"
    shown = "".join(c if c.isprintable() else " " for c in reason)[:200]
    return TaxbreakError(f"{file}: the file is damaged or cut short ({shown}); export the report again")


@contextmanager
def time_limit(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Interrupt the connection's statement after some seconds; sqlite3 then raises OperationalError "interrupted"."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    start_thread(timer)
    try:
        yield
    finally:
        timer.cancel()


def known_tables(connection: sqlite3.Connection, known: Iterable[str], file: str) -> dict[str, frozenset[str]]:
    """Return {table: columns in lower case} of the known tables in a file, tables spelt as in `known`.

    Raises TaxbreakError for views, triggers, and known tables that are not plain tables: nsys writes only plain tables.
    """
    tables = {}
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')"):
        raise TaxbreakError(f"{file}: holds a {kind} ({_shown(name)}), which no nsys export does; export it again")
    names = {name.lower(): name for name in known}
    for row in connection.execute("PRAGMA main.table_list"):
        _, name, kind, _, without_rowid, _ = row
        if str(name).lower() not in names:
            continue
        columns = connection.execute(f"PRAGMA main.table_xinfo({_quoted(name)})").fetchall()
        computed = any(column[6] for column in columns)
        if kind != "table" or without_rowid or computed:
            raise TaxbreakError(f"{file}: {_shown(name)} is not a plain table, as in an nsys export; export it again")
        for _, index, _, origin, partial in connection.execute(f"PRAGMA main.index_list({_quoted(name)})").fetchall():
            keys = connection.execute(f"PRAGMA main.index_xinfo({_quoted(index)})").fetchall()
            if partial or (origin == "c" and any(key[1] == -2 for key in keys)):
                raise TaxbreakError(
                    f"{file}: index {_shown(index)} holds conditions or expressions, as no nsys export does; "
                    "export it again"
                )
        tables[names[str(name).lower()]] = frozenset(str(column[1]).lower() for column in columns)
    return tables


def count_rows(connection: sqlite3.Connection, tables: Mapping[str, object], file: str, size: int) -> dict[str, int]:
    """Return {table: rows}, counted by walking each table.

    Raises TaxbreakError where an index disagrees with its table, or a table has more rows than `size` bytes can hold.
    """
    counts = {}
    for table in tables:
        counts[table] = connection.execute(f"SELECT count(*) FROM main.{_quoted(table)} NOT INDEXED").fetchone()[0]
        if counts[table] > size // _LEAST_ROW_BYTES:
            raise TaxbreakError(f"{file}: table {table} is damaged (more rows than the file has room for)")
        for row in connection.execute(f"PRAGMA main.index_list({_quoted(table)})").fetchall():
            through = f"SELECT count(*) FROM main.{_quoted(table)} INDEXED BY {_quoted(row[1])}"
            if connection.execute(through).fetchone()[0] != counts[table]:
                raise TaxbreakError(f"{file}: table {table} is damaged (an index disagrees with it); export it again")
    return counts


def names_are_keyed(connection: sqlite3.Connection) -> bool:
    """Return whether StringIds.id is the primary key, so that ids are unique."""
    keys = [row[1].lower() for row in connection.execute("PRAGMA main.table_xinfo('StringIds')") if row[5]]
    return keys == ["id"]


def _quoted(name: str) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _shown(name: object) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(name))
    return text if len(text) <= 60 else text[:59] + "…"
