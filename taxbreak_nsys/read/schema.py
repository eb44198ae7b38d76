"""What the queries need of a report's schema, and what stands in for what a report lacks.

A report is judged by its tables and columns, never by its version number. The queries in `sql/` are written
for a full schema; where a table or a column is missing, a temporary view or table of the same name, in memory,
stands before the real one: SQLite looks in `temp` first. The report itself is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL = "CUPTI_ACTIVITY_KIND_KERNEL"

_REQUIRED: dict[str, tuple[str, ...]] = {
    "StringIds": ("id", "value"),
    RUNTIME: ("start", "end", "globalTid", "correlationId", "nameId"),
}

_REQUIRED_WHERE_PRESENT: dict[str, tuple[str, ...]] = {
    KERNEL: ("start", "end", "globalPid", "correlationId"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("start", "end", "globalPid", "correlationId"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("start", "end", "globalPid", "correlationId"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("start", "end", "globalPid", "correlationId"),
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
}

_OPTIONAL: dict[str, tuple[str, ...]] = {
    RUNTIME: ("callchainId",),
    KERNEL: (
        "deviceId", "contextId", "streamId", "demangledName", "shortName", "graphNodeId",
        "gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ",
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("deviceId", "contextId", "streamId", "graphNodeId", "bytes", "copyKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("deviceId", "contextId", "streamId", "graphNodeId", "bytes"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("deviceId", "contextId", "streamId"),
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
    "ThreadNames": ("globalTid", "nameId"),
    "TARGET_INFO_GPU": ("name",),
    "TARGET_INFO_SYSTEM_ENV": ("name", "value"),
    "TARGET_INFO_CUDA_DEVICE": ("gpuId", "cudaId", "pid"),
    "META_DATA_CAPTURE": ("name", "value"),
    "META_DATA_EXPORT": ("name", "value"),
    "EXPORT_META_DATA": ("name", "value"),
}  # fmt: skip

Schema = Mapping[str, frozenset[str]]
"""Table name (as the queries spell it) to its columns in lower case; only tables that the report holds."""


def inspect_schema(engine: Engine, file: str) -> Schema:
    """Return the tables that the queries know of and that the report holds, with their columns.

    Raises TaxbreakError where the file is no report of CUDA work: no string table, no CUDA API calls, or a
    column without which nothing can be said.
    """
    from sqlalchemy import inspect

    inspector = inspect(engine)
    present = {name.lower(): name for name in inspector.get_table_names()}
    known = _REQUIRED | _REQUIRED_WHERE_PRESENT | _OPTIONAL
    schema = {
        table: frozenset(column["name"].lower() for column in inspector.get_columns(present[table.lower()]))
        for table in known
        if table.lower() in present
    }
    if "StringIds" not in schema:
        raise TaxbreakError(
            f"{file}: not an Nsight Systems export (no table StringIds); export one with "
            "'nsys export -t sqlite REPORT.nsys-rep'"
        )
    if RUNTIME not in schema:
        raise TaxbreakError(
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
    return schema


def stand_ins(schema: Schema) -> list[str]:
    """Return the statements that create, in `temp`, what `schema` lacks of the schema the queries expect."""
    statements = []
    for table in _REQUIRED_WHERE_PRESENT | _OPTIONAL:
        columns = (*_REQUIRED_WHERE_PRESENT.get(table, ()), *_OPTIONAL.get(table, ()))
        if table not in schema:
            statements.append(f'CREATE TEMP TABLE "{table}" ({", ".join(f"{column!r}" for column in columns)})')
            continue
        lacking = [column for column in columns if column.lower() not in schema[table]]
        if lacking:
            nulls = ", ".join(f'NULL AS "{column}"' for column in lacking)
            statements.append(f'CREATE TEMP VIEW "{table}" AS SELECT rowid, *, {nulls} FROM main."{table}"')
    return statements
