"""Writes a report's tables as nsys's exports of type arrowdir and parquetdir do: a file per table, unsigned ids."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_UNSIGNED = {"globalTid", "globalPid", "domainId", "demangledName", "shortName"}
_SHORT = {"deviceId", "contextId", "streamId", "correlationId", "eventType", "eventClass", "textId"}


def write_folder(report: Path, folder: Path, suffix: str) -> Path:
    """Write the tables of a `.sqlite` export to files with a suffix, `.arrow` or `.parquet`; return the folder."""
    folder.mkdir()
    with closing(sqlite3.connect(f"file:{report}?mode=ro&immutable=1", uri=True)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            described = database.execute(f'PRAGMA table_info("{name}")').fetchall()
            rows = database.execute(f'SELECT * FROM "{name}"').fetchall()
            columns = {}
            for place, (_, column, kind, *_) in enumerate(described):
                columns[column] = _array([row[place] for row in rows], column, kind)
            table = pa.table(columns)
            if suffix == ".parquet":
                pq.write_table(table, folder / f"{name}.parquet", row_group_size=1000)
            else:
                with pa.ipc.new_stream(str(folder / f"{name}.arrow"), table.schema) as writer:
                    writer.write_table(table)
    return folder


def _array(values: list[object], column: str, kind: str) -> pa.Array:
    if "CHAR" in kind.upper() or "TEXT" in kind.upper():
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    if any(isinstance(value, float) for value in values):
        return pa.array(values, pa.float64())
    if any(isinstance(value, str) for value in values):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    signed = pa.array(values, pa.int64())
    if column in _UNSIGNED:
        return signed.view(pa.uint64())
    return signed.cast(pa.uint32()) if column in _SHORT else signed
