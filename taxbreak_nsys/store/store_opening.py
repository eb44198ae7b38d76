"""Opens a results store: parses the URL, checks the schema version, configures the database connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.input_files import note_input
from taxbreak_nsys.store.models import metadata
from taxbreak_nsys.store.schema_versions import HEAD, bring_to_head, is_older, version_table

_BUSY_MS = 60_000


@dataclass(frozen=True)
class Store:
    """An open results store, a context manager; `shown` names it in messages, without a password."""

    engine: Engine
    shown: str

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run a transaction; a database error rolls it back and raises TaxbreakError."""
        with store_errors(self.shown), self.engine.begin() as connection:
            yield connection

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()


def open_store(store: str, *, write: bool = False) -> Store:
    """Open a store by URL or by the path of an SQLite file.

    With `write` it is created if missing and migrated to this program's schema; without, the store is opened read-only.
    Raises TaxbreakError where there is no store, where the database is no store of this program, or where the schema is
    newer or (when reading) older than this program's.
    """
    url = _url(store)
    shown = url.database or "" if url.drivername == "sqlite" else url.render_as_string(hide_password=True)
    if url.drivername == "sqlite":
        _check_sqlite(Path(shown), write)
    if url.drivername == "sqlite":
        note_input(shown)
    with store_errors(shown):
        version = _version(url, shown)
        if version is None and not write:
            raise TaxbreakError(f"{shown}: holds no results yet; fill it with 'taxbreak-nsys batch FOLDER --store URL'")
        if version not in (None, HEAD):
            _check_version(str(version), shown, write)
        engine = _engine(url, write)
        if version != HEAD:
            with engine.begin() as connection:
                bring_to_head(connection)
    return Store(engine, shown)


def exists(store: str) -> bool:
    """Return whether a store exists, of any schema version."""
    url = _url(store)
    shown = url.database or ""
    with store_errors(shown):
        return _version(url, shown) is not None


@contextmanager
def store_errors(shown: str) -> Iterator[None]:
    """Convert database errors to TaxbreakError with one line."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().split("\n")[0]
        if "is full" in reason or "disk I/O error" in reason or "No space left" in reason:
            reason += "; the disk is full or fails: make room and run the same command again, what was stored is whole"
        elif "locked" in reason:
            reason += "; another program has held the store for a minute: run the same command again"
        raise TaxbreakError(f"{shown}: {reason}") from error
    except SQLAlchemyError as error:
        raise TaxbreakError(f"{shown}: {error}") from error


def _url(store: str) -> URL:
    if "://" not in store:
        return URL.create("sqlite", database=str(Path(store).absolute()))
    try:
        url = make_url(store)
    except (ArgumentError, ValueError) as error:
        raise TaxbreakError(
            f"--store {store!r}: not a database URL; write a file name or postgresql://USER@HOST/DATABASE"
        ) from error
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:":
            raise TaxbreakError(f"--store {store!r}: names no file; write sqlite:///FILE")
        return url.set(database=str(Path(url.database).absolute()))
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise TaxbreakError(f"--store {store.partition(':')[0]}: stores are SQLite or PostgreSQL")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise TaxbreakError(
            "a PostgreSQL store needs the extra: python -m pip install 'taxbreak-nsys[postgresql]'"
        ) from error
    return url.set(drivername="postgresql+psycopg")


def _check_sqlite(path: Path, write: bool) -> None:
    if path.is_dir():
        raise TaxbreakError(f"{path}: is a folder; name the store's file")
    if not path.exists() and not write:
        raise TaxbreakError(f"{path}: no such store; fill one with 'taxbreak-nsys batch FOLDER --store {path.name}'")
    if not path.parent.is_dir():
        raise TaxbreakError(f"{path}: the folder {path.parent} does not exist")


def _version(url: URL, shown: str) -> str | None:
    """Return the version of the schema, None if there is no store yet; never writes."""
    if url.drivername == "sqlite":
        if not Path(shown).exists() or not Path(shown).stat().st_size:
            return None
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(f"{Path(shown).as_uri()}?mode=ro", uri=True),
            poolclass=NullPool,
        )
    else:
        engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            present = set(inspect(connection).get_table_names())
            if version_table.name in present:
                version = connection.execute(select(version_table.c.version_num)).scalar()
                return None if version is None else str(version)
    finally:
        engine.dispose()
    foreign = present if url.drivername == "sqlite" else present & set(metadata.tables)
    if foreign:
        raise TaxbreakError(
            f"{shown}: is not a results store of taxbreak-nsys (it holds the table {min(foreign)}); name another with "
            "--store"
        )
    return None


def _check_version(version: str, shown: str, write: bool) -> None:
    if not is_older(version):
        raise TaxbreakError(
            f"{shown}: was written by a newer taxbreak-nsys (store schema {version}, this program knows {HEAD}); "
            "update taxbreak-nsys"
        )
    if not write:
        raise TaxbreakError(
            f"{shown}: has the older store schema {version}; 'taxbreak-nsys store upgrade --store {shown}' brings it "
            f"to {HEAD}"
        )


def _engine(url: URL, write: bool) -> Engine:
    engine = create_engine(url)
    if url.drivername != "sqlite":
        if not write:

            @event.listens_for(engine, "connect")
            def read_only(connection: Any, _: object) -> None:
                connection.read_only = True  # psycopg then starts every transaction as READ ONLY
                with connection.cursor() as cursor:
                    cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
                connection.commit()

        return engine

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _: object) -> None:
        # Without this, sqlite3 itself begins a transaction before a writing statement; the `begin` event below does so.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        if write:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        else:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer locks at once: upgrading a read lock later can fail immediately, in spite of busy_timeout.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
