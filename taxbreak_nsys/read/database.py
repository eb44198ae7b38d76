"""A report's SQLite file, opened so that it cannot change: schema through SQLAlchemy, columns through ADBC."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read import guard
from taxbreak_nsys.read.clean import Cleaning
from taxbreak_nsys.read.schema import KNOWN_TABLES, Layout, Schema, inspect_layout, stand_ins
from taxbreak_nsys.read.sql import query_text

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65536
_JOINED_ROWS = 4
"""A query may give this many times the rows of the tables together: a join of ids that repeat gives more."""


class Database:
    """One report's database, read-only and immutable; use it as a context manager.

    `schema` holds the tables of interest that the report has. Errors of the file become TaxbreakError.
    """

    def __init__(self, path: Path, shown: Path | None = None, of: Database | None = None) -> None:
        """Open `path` and inspect it, or share what `of` knows of it; raises TaxbreakError where it is no use.

        `shown` is the name for messages where `path` is an export that the user does not know of.
        """
        self.path = path
        self.shown = str(shown or path)
        if of is None:
            guard.check_file(path, self.shown)
            self._stamp = _stamp(path)
            self.layout: Layout = self._inspect()
            self.cleaning = Cleaning(self.shown)
        else:
            self._stamp, self.layout, self.cleaning = of._stamp, of.layout, of.cleaning
        self._connect()

    @property
    def schema(self) -> Schema:
        """The tables of interest that the report has, with their columns."""
        return self.layout.schema

    def sibling(self) -> Database:
        """Return a second connection to the same report, for another thread."""
        return Database(self.path, Path(self.shown), self)

    def _inspect(self) -> Layout:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import StaticPool

        engine = None
        try:
            connection = guard.connect(self.path)
            engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
            with guard.time_limit(connection, guard.seconds_for(self.path)):
                guard.check_objects(connection, KNOWN_TABLES, self.shown)
                return inspect_layout(engine, connection, self.shown, self.path.stat().st_size)
        except (DBAPIError, sqlite3.Error, UnicodeError) as error:
            raise self._broken(error) from error
        finally:
            if engine is not None:
                engine.dispose()

    def _connect(self) -> None:
        import adbc_driver_manager
        import adbc_driver_sqlite

        try:
            self._database = adbc_driver_sqlite.connect(guard.uri(self.path))
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
            for statement in (*guard.SETTINGS, *stand_ins(self.layout), "PRAGMA query_only=ON"):
                self._execute(statement)
        except adbc_driver_manager.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> TaxbreakError:
        reason = str(getattr(error, "orig", None) or error).removeprefix("IO: Failed to step query: ")
        if reason == "interrupted":
            reason = "it takes longer to read than a file of its size can"
        shown = "".join(c if c.isprintable() else " " for c in reason)[:200]
        return TaxbreakError(f"{self.shown}: the file is damaged or cut short ({shown}); export the report again")

    def _execute(self, sql: str, **parameters: str) -> pa.Table:
        import adbc_driver_manager
        import pyarrow as pa

        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
            statement.set_sql_query(sql)
            if parameters:
                from taxbreak_nsys.codes import strings

                statement.prepare()
                statement.bind(
                    pa.RecordBatch.from_arrays([strings([value]) for value in parameters.values()], list(parameters))
                )
            stream, _ = statement.execute_query()
            return self._read(pa.RecordBatchReader.from_stream(stream))

    def _read(self, reader: pa.RecordBatchReader) -> pa.Table:
        """Read a result to its end, while it keeps within what a sound report can give."""
        import pyarrow as pa

        until = time.monotonic() + guard.seconds_for(self.path)
        most = _JOINED_ROWS * sum(self.layout.rows.values()) + 1000
        batches, rows = [], 0
        for batch in reader:
            batches.append(batch)
            rows += len(batch)
            if rows > most:
                raise TaxbreakError(f"{self.shown}: damaged (ids that join far more rows than there are events)")
            if time.monotonic() > until:
                raise TaxbreakError(f"{self.shown}: takes too long to read; export the report again, on a local disk")
        return pa.Table.from_batches(batches, reader.schema)

    def query(self, subject: str, **parameters: str) -> pa.Table:
        """Return what `sql/<subject>.sql` selects, as Arrow columns, checked and cleaned (`read.clean`).

        An all-NULL column comes back as int64. Raises TaxbreakError where a column cannot be what it should be.

        `parameters` are the query's own (`:name`), in the order of their first use.
        """
        import adbc_driver_manager
        import pyarrow as pa

        try:
            return self.cleaning.table(self._execute(query_text(subject), **parameters), subject)
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Close the connection; further queries fail."""
        self._connection.close()
        self._database.close()

    def __enter__(self) -> Database:
        """Return the open database."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; raises TaxbreakError where the file changed while it was read."""
        self.close()
        if kind is None and _stamp(self.path) != self._stamp:
            raise TaxbreakError(f"{self.shown}: changed while it was read; wait until its export is done")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read any more ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns
