"""Exports the store as partitioned Parquet datasets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Select, Table, select

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.store.models import failures, kernels, phases, reports, states, tags, warnings
from taxbreak_nsys.store.store_opening import Store
from taxbreak_nsys.store.store_queries import tag_or_fact

MARK = "_taxbreak_dataset"
_OF_REPORTS = (reports, tags, warnings, phases, states, kernels)
_ROWS_AT_ONCE = 20_000
_TYPES = ((BigInteger, pa.int64()), (Integer, pa.int64()), (Double, pa.float64()), (Boolean, pa.bool_()),
          (DateTime, pa.timestamp("us", tz="UTC")))  # fmt: skip


def export_parquet(store: Store, folder: Path, partition_by: Sequence[str], *, force: bool) -> dict[str, int]:
    """Write each table as a dataset below `folder`, partitioned by tags or facts of the reports.

    Partitions follow the Hive convention (`model=llama/`); the table of failures has no tags and is not partitioned.
    Returns {table: rows}. The folder is written under a temporary name and renamed when complete; with `force` it
    replaces an earlier export, but no other folder. Raises TaxbreakError where it cannot be written.
    """
    _check(folder, force)
    columns = {column.name for table in _OF_REPORTS for column in table.columns}
    for key in partition_by:
        if key in columns - set(reports.columns.keys()):
            raise TaxbreakError(
                f"--partition-by {key!r}: is a column of the tables; tag the reports under another name"
            )
    counts: dict[str, int] = {}
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with store.begin() as connection:
                for table in (*_OF_REPORTS, failures):
                    by = () if table is failures else partition_by
                    counts[table.name] = _write(connection, table, unfinished / table.name, by)
            (unfinished / MARK).touch()
            unfinished.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise TaxbreakError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return counts


def _check(folder: Path, force: bool) -> None:
    if not folder.parent.is_dir():
        raise TaxbreakError(f"{folder}: the folder {folder.parent} does not exist")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MARK).is_file():
        raise TaxbreakError(f"{folder}: exists and is not an export of a store; name another folder")
    if not force:
        raise TaxbreakError(f"{folder}: exists; give --force-overwrite to replace it")


def _with_partition_keys(table: Table, partition_by: Sequence[str]) -> Select[Any]:
    """Return the query for a table's rows with the partition keys of their reports."""
    values = [tag_or_fact(key).label(key) for key in partition_by]
    columns = [column for column in table.columns if column.name not in partition_by]
    wanted = select(*columns, *values).order_by(*table.primary_key)
    if table in (reports, failures):
        return wanted
    if "report_id" in table.columns:
        return wanted.join(reports, reports.c.id == table.c.report_id)
    return wanted.join(phases, phases.c.id == table.c.phase_id).join(reports, reports.c.id == phases.c.report_id)


def _arrow(column: Column[Any]) -> pa.DataType:
    return next((arrow for kind, arrow in _TYPES if isinstance(column.type, kind)), pa.string())


def _write(connection: Any, table: Table, folder: Path, partition_by: Sequence[str]) -> int:
    kept = [column for column in table.columns if column.name not in partition_by]
    fields = [pa.field(column.name, _arrow(column), bool(column.nullable)) for column in kept]
    by = [pa.field(key, pa.string()) for key in partition_by]
    schema = pa.schema([*fields, *by])
    rows = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        result = connection.execution_options(stream_results=True).execute(_with_partition_keys(table, partition_by))
        for part in result.partitions(_ROWS_AT_ONCE):
            rows += len(part)
            columns = list(zip(*part, strict=True))
            yield pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)

    folder.mkdir()
    ds.write_dataset(
        batches(), folder, schema=schema, format="parquet",
        partitioning=ds.partitioning(pa.schema(by), flavor="hive") if by else None,
    )  # fmt: skip
    return rows
