"""A report's SQLite file, opened read-only and immutable, with query results as Arrow columns (ADBC)."""

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
"""Limit of a result's rows, as a multiple of the rows of all tables; only a join over duplicate ids exceeds it."""


def open_report(report: Path) -> Database:
    """Open a report: a `.sqlite`, a `.nsys-rep`, or a folder of Arrow or Parquet files.

    Raises TaxbreakError, naming the file that the user gave, where the report cannot be read.
    """
    return open_inspected(inspect(report))


def open_inspected(report: Inspected) -> Database:
    """Open a report that has been inspected."""
    if report.path.is_dir():
        from taxbreak_nsys.read.arrow_database import ArrowDatabase

        return ArrowDatabase(report)
    return Database(report)


class Database:
    """One report's database, read-only and immutable; a context manager.

    Every method raises TaxbreakError where the file is damaged.
    """

    def __init__(self, report: Inspected, cleaning: Cleaning | None = None, *, sorts: bool = False) -> None:
        """Open an inspected report; siblings share `cleaning`. For `sorts`, see `sibling`."""
        self._report, self._sorts = report, sorts
        self.path, self.shown, self.layout = report.path, report.shown, report.layout
        self.cleaning = cleaning or Cleaning(file=report.shown)
        self._connect()

    @property
    def schema(self) -> Schema:
        """The report's tables that the queries use, with their columns."""
        return self.layout.schema

    def sibling(self, *, counted: bool = True, sorts: bool = False) -> Database:
        """Return a second connection to the same report, for another thread.

        The rows that it leaves out as damaged count toward this connection's `cleaning`. `counted=False` is for rows
        that are read twice. With `sorts`, SQLite sorts long tables in temporary files instead of in memory.
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
        """Yield at least one batch; raises TaxbreakError beyond the limits of time and rows for a sound report."""
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
            seconds_left = self._allowed_seconds()
            most_rows = 1000 + _JOINED_ROWS * sum(self.layout.rows.values())
            rows = 0
            empty = True
            while True:
                began = time.monotonic()
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
                seconds_left -= time.monotonic() - began
                rows += len(batch)
                if rows > most_rows:
                    raise TaxbreakError(f"{self.shown}: damaged (ids that join far more rows than there are events)")
                if seconds_left < 0:
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
        """Yield the rows of `sql/<subject>.sql`, `batch` at a time, as tables that are checked as in `query`.

        With `in_order` the rows are sorted by their start; a sibling with `sorts` does so in bounded memory. Other
        queries may run on the connection between two batches.
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
        """Return the rows of `sql/<subject>.sql` as Arrow columns, checked and cleaned (`column_checks`).

        An all-NULL column has type int64. `parameters` are the query's `:name` parameters, in the order of first use.
        Raises TaxbreakError where a column has values of an impossible type.
        """
        import adbc_driver_manager
        import pyarrow as pa

        try:
            batches = list(self._batches(query_text(subject), parameters))
            return self.cleaning.table(pa.Table.from_batches(batches), subject)
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise self._broken(error) from error

    def starts(self, table: str, samples: int) -> pa.Table:
        """Return the starts (ns) of about `samples` evenly spaced rows of a known table, in the file's order."""
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; raises TaxbreakError if the file changed since its inspection."""
        self.close()
        if kind is None and stamp(self.path) != self._report.stamp:
            raise TaxbreakError(f"{self.shown}: changed while it was read; wait until its export is done")
