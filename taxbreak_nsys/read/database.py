"""A report's SQLite file, opened so that it cannot change: schema through SQLAlchemy, columns through ADBC."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.schema import Schema, inspect_schema, stand_ins
from taxbreak_nsys.read.sql import query_text

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = b"SQLite format 3\x00"
_BATCH_ROWS = 65536
_SETTINGS = (
    "PRAGMA temp_store=MEMORY",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA query_only=OFF",
)


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"


def _check_file(path: Path) -> None:
    if not path.exists():
        raise TaxbreakError(f"{path}: no such file")
    if path.is_dir():
        raise TaxbreakError(f"{path}: is a folder, not a report")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not magic:
        raise TaxbreakError(f"{path}: is empty; export the report again")
    if magic != _MAGIC:
        raise TaxbreakError(
            f"{path}: not an SQLite file; give a .nsys-rep or what 'nsys export -t sqlite REPORT.nsys-rep' writes"
        )


class Database:
    """One report's database, read-only and immutable; use it as a context manager.

    `schema` holds the tables of interest that the report has. Errors of the file become TaxbreakError.
    """

    def __init__(self, path: Path, schema: Schema | None = None, shown: Path | None = None) -> None:
        """Open `path` and inspect its schema if none is given; raises TaxbreakError where it is no usable report.

        `shown` is the name for messages where `path` is an export that the user does not know of.
        """
        self.path = path
        self.shown = shown or path
        if schema is None:
            _check_file(path)
            schema = self._inspect()
        self.schema: Schema = schema
        self._connect()

    def sibling(self) -> Database:
        """Return a second connection to the same report, for another thread."""
        return Database(self.path, self.schema, self.shown)

    def _inspect(self) -> Schema:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import NullPool

        engine = create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(_uri(self.path), uri=True), poolclass=NullPool
        )
        try:
            return inspect_schema(engine, str(self.shown))
        except (DBAPIError, sqlite3.Error, UnicodeError) as error:
            raise self._broken(error) from error
        finally:
            engine.dispose()

    def _connect(self) -> None:
        import adbc_driver_manager
        import adbc_driver_sqlite

        try:
            self._database = adbc_driver_sqlite.connect(_uri(self.path))
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
            for statement in (*_SETTINGS, *stand_ins(self.schema)):
                self._execute(statement)
        except adbc_driver_manager.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> TaxbreakError:
        reason = str(getattr(error, "orig", None) or error).removeprefix("IO: Failed to step query: ")
        return TaxbreakError(
            f"{self.shown}: the file is damaged or cut short ({reason[:200]}); export the report again"
        )

    def _execute(self, sql: str, **parameters: str) -> pa.Table:
        import adbc_driver_manager
        import pyarrow as pa

        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
            statement.set_sql_query(sql)
            if parameters:
                statement.prepare()
                statement.bind(pa.RecordBatch.from_pydict({name: [value] for name, value in parameters.items()}))
            stream, _ = statement.execute_query()
            return pa.RecordBatchReader.from_stream(stream).read_all()

    def query(self, subject: str, **parameters: str) -> pa.Table:
        """Return what `sql/<subject>.sql` selects, as Arrow columns; an all-NULL column comes back as int64.

        `parameters` are the query's own (`:name`), in the order of their first use.
        """
        import adbc_driver_manager
        import pyarrow as pa

        try:
            return self._execute(query_text(subject), **parameters)
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
        """Close the connection."""
        self.close()
