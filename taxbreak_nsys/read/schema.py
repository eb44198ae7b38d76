"""The schema that the queries require, and stand-ins for optional tables and columns that a report lacks.

A report is judged by its tables and columns, never by its version number. The queries in `sql/` are written for the
full schema. For a missing table or column, a temporary table or view of the same name is created in memory; SQLite
searches `temp` first, so it shadows the real one. The report itself is not changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from taxbreak_nsys.errors import NoCudaWorkError, TaxbreakError
from taxbreak_nsys.read import file_safety

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL = "CUPTI_ACTIVITY_KIND_KERNEL"
PROCESS = "globalPid"
"""The column that old exports of one process lack in the tables of device operations."""

_REQUIRED: dict[str, tuple[str, ...]] = {
    "StringIds": ("id", "value"),
    RUNTIME: ("start", "end", "globalTid", "correlationId", "nameId"),
}

_REQUIRED_WHERE_PRESENT: dict[str, tuple[str, ...]] = {
    KERNEL: ("start", "end", "correlationId"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("start", "end", "correlationId"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("start", "end", "correlationId"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("start", "end", "correlationId"),
    "NVTX_EVENTS": ("start", "end", "globalTid", "eventType"),
    "OSRT_API": ("start", "end", "globalTid", "nameId"),
    "PROFILER_OVERHEAD": ("start", "end", "globalTid"),
    "CUPTI_ACTIVITY_KIND_OVERHEAD": ("start", "end", "globalTid"),
    "CUBLAS_EVENTS": ("start", "end", "globalTid"),
    "CUDNN_EVENTS": ("start", "end", "globalTid"),
    "COMPOSITE_EVENTS": ("id", "start", "globalTid"),
    "SAMPLING_CALLCHAINS": ("id", "stackDepth"),
    "CUDA_CALLCHAINS": ("id", "stackDepth"),
    "SCHED_EVENTS": ("start", "globalTid", "isSchedIn"),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": ("start",),
}

_DEVICE_TABLES = (KERNEL, *(f"CUPTI_ACTIVITY_KIND_{kind}" for kind in ("MEMCPY", "MEMSET", "GRAPH_TRACE")))

_OPTIONAL: dict[str, tuple[str, ...]] = {
    RUNTIME: ("callchainId",),
    KERNEL: (
        PROCESS, "deviceId", "contextId", "streamId", "demangledName", "shortName", "graphNodeId",
        "gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ",
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (PROCESS, "deviceId", "contextId", "streamId", "graphNodeId", "bytes", "copyKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": (PROCESS, "deviceId", "contextId", "streamId", "graphNodeId", "bytes"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": (PROCESS, "deviceId", "contextId", "streamId"),
    "NVTX_EVENTS": ("text", "textId", "domainId"),
    "OSRT_API": ("eventClass",),
    "PROFILER_OVERHEAD": ("nameId",),
    "CUPTI_ACTIVITY_KIND_OVERHEAD": ("nameId", "overheadType"),
    "CUBLAS_EVENTS": ("eventClass", "nameId"),
    "CUDNN_EVENTS": ("eventClass", "nameId"),
    "COMPOSITE_EVENTS": ("threadState",),
    "SAMPLING_CALLCHAINS": ("symbol", "module", "kernelMode", "unresolved"),
    "CUDA_CALLCHAINS": ("symbol", "module", "unresolved"),
    "SCHED_EVENTS": (),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (PROCESS, "eventId"),
    "ThreadNames": ("globalTid", "nameId"),
    "TARGET_INFO_GPU": ("name", "uuid"),
    "TARGET_INFO_SYSTEM_ENV": ("name", "value"),
    "TARGET_INFO_SESSION_START_TIME": ("utcEpochNs",),
    "TARGET_INFO_CUDA_DEVICE": ("gpuId", "cudaId", "pid"),
    "DIAGNOSTIC_EVENT": ("severity", "text"),
    "PROCESSES": ("globalPid",),
    "ProcessStreams": (),
    "ANALYSIS_FILE": (),
    "META_DATA_CAPTURE": ("name", "value"),
    "META_DATA_EXPORT": ("name", "value"),
    "EXPORT_META_DATA": ("name", "value"),
}  # fmt: skip

_MOST_THREADS = 100_000

KNOWN_TABLES = frozenset(_REQUIRED | _REQUIRED_WHERE_PRESENT | _OPTIONAL)
"""Every table that a query may name."""

Schema = Mapping[str, frozenset[str]]
"""Maps each table of the report (in the queries' spelling) to its columns in lower case."""


@dataclass(frozen=True)
class Layout:
    """Tables, columns and row counts of a report.

    `rows` maps each table to its number of rows. `process` is set only if a table of device operations lacks the
    process: the globalPid of the only process that calls CUDA. `keyed_names` is true if StringIds.id is the primary
    key, hence unique. `cuda_threads` are the globalTids of the threads that call CUDA, sorted; None if one of them is
    no integer.
    """

    schema: Schema
    rows: Mapping[str, int]
    process: int | None
    keyed_names: bool
    cuda_threads: tuple[int, ...] | None = None


def inspect_layout(connection: sqlite3.Connection, file: str, size: int) -> Layout:
    """Return the layout of a report of `size` bytes, which `connection` has open.

    Raises TaxbreakError where the file is damaged or no report of CUDA work.
    """
    schema = inspect_schema(connection, file)
    rows = file_safety.count_rows(connection, schema, file, size)

    # Most reports have one thread: comparing with the first is quicker than looking up whether a thread is new.
    first = connection.execute(f"SELECT globalTid FROM main.{RUNTIME} WHERE globalTid IS NOT NULL LIMIT 1").fetchone()
    others = f"SELECT DISTINCT globalTid FROM main.{RUNTIME} WHERE globalTid <> ? LIMIT {_MOST_THREADS}"
    threads = [row[0] for row in (first, *connection.execute(others, first))] if first is not None else []
    whole = all(isinstance(thread, int) for thread in threads)

    def processes() -> list[int]:
        return sorted({thread & ~0xFFFFFF for thread in threads if isinstance(thread, int)})[:2]

    return Layout(
        schema,
        rows,
        process=only_process(schema, file, processes),
        keyed_names=file_safety.names_are_keyed(connection),
        cuda_threads=tuple(sorted(threads)) if whole and len(threads) < _MOST_THREADS else None,
    )


def only_process(schema: Schema, file: str, processes: Callable[[], Sequence[int]]) -> int | None:
    """Return the only process that calls CUDA if a table of device operations lacks the process, else None.

    `processes` returns the first two processes that call CUDA. Raises TaxbreakError where there are two.
    """
    lacking = [table for table in _DEVICE_TABLES if table in schema and PROCESS.lower() not in schema[table]]
    if not lacking:
        return None
    candidates = processes()
    if len(candidates) > 1:
        raise TaxbreakError(
            f"{file}: table {lacking[0]} does not say which of several processes an operation belongs to (no column "
            f"{PROCESS}); export the .nsys-rep again with a current nsys"
        )
    return candidates[0] if candidates else 0


def inspect_schema(connection: sqlite3.Connection, file: str) -> Schema:
    """Return the tables of the report that the queries use, with their columns.

    Raises TaxbreakError where the file is no report of CUDA work. This uses SQLite's pragmas because SQLAlchemy's
    inspector takes longer to import than the analysis of a small report.
    """
    schema = file_safety.known_tables(connection, KNOWN_TABLES, file)
    check_schema(schema, file)
    return schema


def check_schema(schema: Schema, file: str) -> None:
    """Raise TaxbreakError where a report lacks a required table or column."""
    if "StringIds" not in schema:
        raise TaxbreakError(
            f"{file}: not an Nsight Systems export (no table StringIds); export one with "
            "'nsys export -t sqlite REPORT.nsys-rep'"
        )
    if RUNTIME not in schema:
        raise NoCudaWorkError(
            f"{file}: holds no CUDA API calls (no table {RUNTIME}); capture with 'nsys profile -t cuda,nvtx,osrt'"
        )
    needed = _REQUIRED | {table: columns for table, columns in _REQUIRED_WHERE_PRESENT.items() if table in schema}
    for table, columns in needed.items():
        for column in columns:
            if column.lower() not in schema[table]:
                raise TaxbreakError(
                    f"{file}: table {table} has no column {column}, which is needed; export the report again with "
                    "a current nsys"
                )


def stand_ins(layout: Layout) -> list[str]:
    """Return SQL statements that create stand-ins in `temp` for the tables and columns that a report lacks."""
    statements = []
    for table in _REQUIRED | _REQUIRED_WHERE_PRESENT | _OPTIONAL:
        columns = dict.fromkeys((*_REQUIRED_WHERE_PRESENT.get(table, ()), *_OPTIONAL.get(table, ())))
        if table not in layout.schema:
            columns = columns or {"id": None}
            statements.append(f'CREATE TEMP TABLE "{table}" ({", ".join(f"{column!r}" for column in columns)})')
            continue
        lacking = [column for column in columns if column.lower() not in layout.schema[table]]
        if lacking:
            filled = ", ".join(f'{_filling(layout, column)} AS "{column}"' for column in lacking)
            statements.append(f'CREATE TEMP VIEW "{table}" AS SELECT rowid, *, {filled} FROM main."{table}"')
    if not layout.keyed_names:
        # Without a primary key, duplicate StringIds would multiply joined rows; keep the first.
        statements.append('CREATE TEMP TABLE "StringIds" ("id" INTEGER PRIMARY KEY, "value")')
        statements.append('INSERT OR IGNORE INTO temp."StringIds" SELECT id, value FROM main."StringIds"')
    return statements


def _filling(layout: Layout, column: str) -> str:
    return str(layout.process) if column == PROCESS and layout.process is not None else "NULL"
