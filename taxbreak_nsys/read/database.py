"""A report's SQLite file, opened so that it cannot change: columns come through ADBC."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.column_checks import Cleaning
from taxbreak_nsys.read.file_hash import stamp
from taxbreak_nsys.read.report_inspection import Inspected, inspect
from taxbreak_nsys.read.schema import Schema, stand_ins
from taxbreak_nsys.read.sql_files import query_text, sorted_query

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65536
_JOINED_ROWS = 4
"""A query may give this many times the rows of the tables together: a join of ids that repeat gives more."""


def open_report(report: Path) -> Database:
    """Open a report: a `.sqlite`, a `.nsys-rep`, a folder of Arrow or Parquet files.

    Raises TaxbreakError that names the file the user knows.
    """
    return open_inspected(inspect(report))


def open_inspected(report: Inspected) -> Database:
    """Open a report that has been inspected."""
    if report.path.is_dir():
        from taxbreak_nsys.read.arrow_database import ArrowDatabase

        return ArrowDatabase(report)
    return Database(report)


class Database:
    """One report's database, read-only and immutable; use it as a context manager.

    `schema` holds the tables of interest that the report has. Errors of the file become TaxbreakError.
    """

    def __init__(self, report: Inspected, cleaning: Cleaning | None = None, *, sorts: bool = False) -> None:
        """Open an inspected report; `cleaning` is shared with other connections to it, `sorts` is for `sibling`."""
        self._report, self._sorts = report, sorts
        self.path, self.shown, self.layout = report.path, report.shown, report.layout
        self.cleaning = cleaning or Cleaning(report.shown)
        self._connect()

    @property
    def schema(self) -> Schema:
        """The tables of interest that the report has, with their columns."""
        return self.layout.schema

    def sibling(self, *, counted: bool = True, sorts: bool = False) -> Database:
        """Return a second connection to the same report, for another thread.

        Rows that it leaves out as damaged are counted with the others, unless not `counted`: for rows that are read
        twice. With `sorts`, SQLite sorts long tables in temporary files instead of in memory.
        """
        return Database(self._report, self.cleaning if counted else None, sorts=sorts)

    def _connect(self) -> None:
        import adbc_driver_manager
        import adbc_driver_sqlite

        try:
            self._database = adbc_driver_sqlite.connect(file_safety.uri(self.path))
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
            settings = (*file_safety.SETTINGS, *(file_safety.SORTING if self._sorts else ()))
            for statement in (*settings, *stand_ins(self.layout), "PRAGMA query_only=ON"):
                self._execute(statement)
        except adbc_driver_manager.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> TaxbreakError:
        return file_safety.broken(self.shown, error)

    def _allowed_seconds(self) -> float:
        return file_safety.allowed_seconds(self.path)

    def _execute(self, sql: str, **parameters: str) -> None:
        for _ in self._batches(sql, parameters):
            pass

    def _batches(self, sql: str, parameters: dict[str, str], rows_each: int = BATCH_ROWS) -> Generator[pa.RecordBatch]:
        """Yield a result's batches, at least one, while they keep within what a sound report can give."""
        import adbc_driver_manager
        import pyarrow as pa

        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows_each)})
            statement.set_sql_query(sql)
            if parameters:
                from taxbreak_nsys.arrays.arrow_codes import string_array

                statement.prepare()
                statement.bind(
                    pa.RecordBatch.from_arrays(
                        [string_array([value]) for value in parameters.values()], list(parameters)
                    )
                )
            stream, _ = statement.execute_query()
            reader = pa.RecordBatchReader.from_stream(stream)
            left, most, rows = (
                self._allowed_seconds(),
                1000 + _JOINED_ROWS * sum(self.layout.rows.values()),
                0,
            )
            empty = True
            while True:
                began = time.monotonic()
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
                left -= time.monotonic() - began
                rows += len(batch)
                if rows > most:
                    raise TaxbreakError(f"{self.shown}: damaged (ids that join far more rows than there are events)")
                if left < 0:
                    raise TaxbreakError(
                        f"{self.shown}: takes too long to read; export the report again, on a local disk"
                    )
                empty = False
                yield batch
            if empty:
                yield pa.RecordBatch.from_arrays(
                    [pa.nulls(0, kind) for kind in reader.schema.types], reader.schema.names
                )

    def stream(
        self, subject: str, batch: int = BATCH_ROWS, *, in_order: bool = False, **parameters: str
    ) -> Generator[pa.Table]:
        """Yield what `sql/<subject>.sql` selects, `batch` rows at a time, each part as `query` returns the whole.

        `in_order` sorts the rows by their start (on a connection that `sorts`, in bounded memory). Other queries may
        run on the same connection in between.
        """
        import adbc_driver_manager
        import pyarrow as pa

        try:
            text = sorted_query(subject) if in_order else query_text(subject)
            with closing(self._batches(text, parameters, batch)) as parts:
                for part in parts:
                    yield self.cleaning.table(pa.Table.from_batches([part]), subject)
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise self._broken(error) from error

    def query(self, subject: str, **parameters: str) -> pa.Table:
        """Return what `sql/<subject>.sql` selects, as Arrow columns, checked and cleaned (`read.clean`).

        An all-NULL column comes back as int64. Raises TaxbreakError where a column cannot be what it should be.

        `parameters` are the query's own (`:name`), in the order of their first use.
        """
        import adbc_driver_manager
        import pyarrow as pa

        try:
            batches = list(self._batches(query_text(subject), parameters))
            return self.cleaning.table(pa.Table.from_batches(batches), subject)
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise self._broken(error) from error

    def starts(self, table: str, samples: int) -> pa.Table:
        """Return the starts of some rows of one of the known tables (`sql/start_samples.sql`), in the file's order."""
        text = query_text("start_samples").replace(":table", table)
        import adbc_driver_manager
        import pyarrow as pa

        try:
            batches = list(self._batches(text, {"samples": str(samples)}))
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise self._broken(error) from error
        return self.cleaning.table(pa.Table.from_batches(batches), "start_samples")

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
        if kind is None and stamp(self.path) != self._report.stamp:
            raise TaxbreakError(f"{self.shown}: changed while it was read; wait until its export is done")
