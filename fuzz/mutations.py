"""Damages reports: changes of rows, schema and bytes, and a Hypothesis strategy that draws them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

from fuzz.seeds import NAMES, seed

_TIMES = ("start", "end")
_DEVICE = (*_TIMES, "deviceId", "contextId", "streamId", "correlationId", "globalPid", "graphNodeId")
COLUMNS = {
    "CUPTI_ACTIVITY_KIND_RUNTIME": (*_TIMES, "globalTid", "correlationId", "nameId", "eventClass", "callchainId"),
    "CUPTI_ACTIVITY_KIND_KERNEL": (*_DEVICE, "demangledName", "shortName", "gridX"),
    "NVTX_EVENTS": (*_TIMES, "globalTid", "eventType", "text", "textId", "domainId"),
    "StringIds": ("id", "value"),
    "OSRT_API": (*_TIMES, "globalTid", "nameId", "eventClass"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (*_DEVICE, "bytes"),
    "CUPTI_ACTIVITY_KIND_MEMSET": (*_DEVICE, "bytes"),
    "PROFILER_OVERHEAD": (*_TIMES, "globalTid", "nameId"),
    "CUPTI_ACTIVITY_KIND_OVERHEAD": (*_TIMES, "globalTid", "overheadType"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("start", "end", "correlationId", "globalPid"),
    "CUBLAS_EVENTS": (*_TIMES, "globalTid", "nameId"),
    "META_DATA_EXPORT": ("name", "value"),
    "META_DATA_CAPTURE": ("name", "value"),
    "TARGET_INFO_GPU": ("name",),
    "SCHED_EVENTS": ("start", "globalTid", "isSchedIn"),
    "COMPOSITE_EVENTS": ("id", "start", "globalTid"),
    "SAMPLING_CALLCHAINS": ("id", "symbol", "module", "stackDepth"),
    "CUDA_CALLCHAINS": ("id", "symbol", "module", "stackDepth"),
}
_OFTEN = tuple(COLUMNS)[:6]
_PLACES = [(table, column) for table in (*_OFTEN, *_OFTEN, *COLUMNS) for column in COLUMNS[table]]
VALUES = (
    "NULL", "0", "1", "-1", "59", "75", "1000000", "2147483648", "4294967295", "9007199254740993",
    "4611686018427387904",
    "9223372036854775807", "-9223372036854775808", "1e300", "-1e300", "9e999", "0.5", "18302628885633695744", "'soon'",
    "''", "'12'", "x''", "x'ff00fe'", "CAST(x'c328' AS TEXT)", "'a' || char(0) || 'b'", "char(27) || '[2J'",
    "hex(zeroblob(5000))", "'decode_' || rowid", "'cudaGraphLaunch_v10000'", "'cudaStreamSynchronize'", "'aten::mm'",
    "start", "end", "end - 1", "start - 1000000000000", "start + (rowid % 7) * 50", "globalTid", "globalTid + rowid",
    "-globalTid", "globalTid | (254 << 56)", "rowid", "rowid % 3", "max(0, rowid - 5)", "correlationId + 1",
)  # fmt: skip
WHERE = ("true", "rowid = 1", "rowid = 2", "rowid % 2", "rowid % 7 = 3", "rowid > 10", "start IS NOT NULL")
STATEMENTS = (
    'CREATE VIEW "v" AS SELECT 1',
    'CREATE TRIGGER "t" AFTER INSERT ON StringIds BEGIN SELECT 1; END',
    'CREATE INDEX "i" ON StringIds(value)',
    'CREATE INDEX "i" ON StringIds(lower(value))',
    'CREATE TABLE "sqlite_like" (a)',
    'CREATE TABLE "" (a)',
    'CREATE TABLE "CUPTI_ACTIVITY_KIND_GRAPH_TRACE" (start, end, correlationId, globalPid, graphId)',
    "INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE(start, end, correlationId, globalPid) "
    "SELECT start, end, correlationId, globalTid & ~0xFFFFFF FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE rowid % 3 = 0",
    "ALTER TABLE META_DATA_EXPORT RENAME TO EXPORT_META_DATA",
    "ALTER TABLE NVTX_EVENTS RENAME TO nvtx_events_of_old",
    "DELETE FROM StringIds WHERE id % 2",
    "PRAGMA user_version = 77",
    "PRAGMA page_size = 512",
    "VACUUM",
)
RANGE_FORMS = {
    "nested": ("{low} + i", "{high} - i"),
    "overlapping": ("{low} + 10 * i", "{low} + 10 * i + 500"),
    "side by side": ("{low} + 20 * i", "{low} + 20 * i + 10"),
    "unclosed": ("{low} + i", "NULL"),
    "empty": ("{low} + i", "{low} + i"),
    "ending together": ("{low} + i", "{high}"),
}


@dataclass(frozen=True)
class Case:
    """A seed report and the changes applied to it in order; in the corpus, one case per line as JSON."""

    seed: str
    changes: tuple[tuple[Any, ...], ...]
    options: str = ""
    """The name of the analysis options in `oracle.OPTIONS`."""

    def to_json(self) -> str:
        """Return the case as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read a case back."""
        data = json.loads(text)
        return cls(data["seed"], tuple(tuple(change) for change in data["changes"]), data["options"])


def build_case(case: Case) -> bytes:
    """Return the SQLite file of a case; changes that do not fit the seed are skipped."""
    changed = [change for change in case.changes if change[0] not in BYTE_CHANGES]
    data = seed(case.seed)
    if changed:
        database = sqlite3.connect(":memory:", isolation_level=None)
        try:
            for kind, *arguments in changed:
                # A new connection per change: one that has read the schema does not notice its rewriting.
                database.close()
                database = sqlite3.connect(":memory:", isolation_level=None)
                database.deserialize(data)
                database.execute("PRAGMA writable_schema=ON")
                try:
                    for statement in SCHEMA_CHANGES[kind](*arguments):
                        database.execute(statement)
                except (sqlite3.Error, sqlite3.Warning):
                    pass
                data = database.serialize()
        finally:
            database.close()
    for kind, *arguments in case.changes:
        if kind in BYTE_CHANGES:
            data = BYTE_CHANGES[kind](data, *arguments)
    return data


def _set(place: tuple[str, str], value: str, where: str) -> list[str]:
    table, column = place
    return [f'UPDATE "{table}" SET "{column}" = {value} WHERE {where}']


def _untype(table: str) -> list[str]:
    return [f"UPDATE sqlite_master SET sql = replace(sql, 'INTEGER', '') WHERE name = '{table}'"]


def _swap(table: str, where: str) -> list[str]:
    return [f'UPDATE "{table}" SET start = end, end = start WHERE {where}']


def _shift(table: str, by: int, where: str) -> list[str]:
    return [f'UPDATE "{table}" SET start = start + {by}, end = end + {by} WHERE {where}']


def _repeat(table: str, times: int) -> list[str]:
    return [f'INSERT INTO "{table}" SELECT * FROM "{table}" LIMIT 2000'] * times


def _drop_table(table: str) -> list[str]:
    return [f'DROP TABLE "{table}"']


def _drop_column(place: tuple[str, str]) -> list[str]:
    table, column = place
    return [f'ALTER TABLE "{table}" DROP COLUMN "{column}"']


def _empty(table: str) -> list[str]:
    return [f'DELETE FROM "{table}"']


def _mix(table: str, factor: int) -> list[str]:
    return [
        f'CREATE TABLE mixed AS SELECT * FROM "{table}" ORDER BY (rowid * {factor}) % 1009',
        f'DROP TABLE "{table}"',
        f'ALTER TABLE mixed RENAME TO "{table}"',
    ]


def _ranges(form: str, count: int, text: str) -> list[str]:
    low, high = "(SELECT min(start) FROM CUPTI_ACTIVITY_KIND_RUNTIME)", "(SELECT max(end) FROM NVTX_EVENTS)"
    start, end = (part.format(low=low, high=high) for part in RANGE_FORMS[form])
    thread = "(SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME LIMIT 1)"
    return [
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}) "
        "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) "
        f"SELECT {start}, {end}, 59, {thread}, '{text}' || (i % 5), 0 FROM n"
    ]


def _statement(sql: str) -> list[str]:
    return [sql]


SCHEMA_CHANGES = {
    "set": _set,
    "untype": _untype,
    "swap": _swap,
    "shift": _shift,
    "repeat": _repeat,
    "drop table": _drop_table,
    "drop column": _drop_column,
    "empty": _empty,
    "mix": _mix,
    "ranges": _ranges,
    "statement": _statement,
}


def _at(data: bytes, share: int) -> int:
    return len(data) * share // 10_000 if data else 0


def _flip(data: bytes, share: int, mask: int) -> bytes:
    at = min(_at(data, share), max(len(data) - 1, 0))
    return data[:at] + bytes(b ^ mask for b in data[at : at + 1]) + data[at + 1 :]


def _cut(data: bytes, share: int) -> bytes:
    return data[: _at(data, share)]


def _page(data: bytes, share: int, filling: int) -> bytes:
    at = _at(data, share) // 4096 * 4096
    return data[:at] + bytes([filling]) * min(4096, len(data) - at) + data[at + 4096 :]


def _copy_page(data: bytes, source: int, target: int) -> bytes:
    origin, at = _at(data, source) // 4096 * 4096, _at(data, target) // 4096 * 4096
    return data[:at] + data[origin : origin + 4096] + data[at + 4096 :]


def _header(data: bytes, share: int, offset: int, value: int) -> bytes:
    """Overwrite a byte in a page header: page type, number of cells, start of the content, or child page."""
    at = _at(data, share) // 4096 * 4096 + offset
    return data[:at] + bytes([value]) + data[at + 1 :]


def _append(data: bytes, count: int) -> bytes:
    return data + bytes(count)


BYTE_CHANGES = {
    "flip": _flip,
    "cut": _cut,
    "page": _page,
    "copy page": _copy_page,
    "header": _header,
    "append": _append,
}

_timed = st.sampled_from([table for table in (*_OFTEN, *COLUMNS) if "end" in COLUMNS[table]])
_table, _where = st.sampled_from((*_OFTEN, *COLUMNS)), st.sampled_from(WHERE)
_place = st.sampled_from(_PLACES)
# Sampled, because st.integers favours small values, that is, the head of the file.
_share = st.sampled_from(tuple(range(0, 10_001, 7)))
_byte = st.sampled_from(tuple(range(1, 256)))
_value = st.one_of(st.sampled_from(VALUES), st.integers(-(2**63), 2**63 - 1).map(str))
_ARGUMENTS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "set": (12, (_place, _value, _where)),
    "untype": (2, (_table,)),
    "swap": (1, (_timed, _where)),
    "shift": (3, (_timed, st.sampled_from((-(10**15), -(10**9), -500, 7, 10**6, 10**12, 10**18)), _where)),
    "repeat": (1, (_table, st.integers(1, 4))),
    "drop table": (1, (_table,)),
    "drop column": (1, (_place,)),
    "empty": (1, (_table,)),
    "mix": (1, (_table, st.integers(1, 1008))),
    "ranges": (
        2,
        (
            st.sampled_from(tuple(RANGE_FORMS)),
            st.sampled_from((1, 2, 10, 100, 2000)),
            st.sampled_from(("step ", "aten::mm", "cublasGemmEx", "", "__")),
        ),
    ),
    "statement": (1, (st.sampled_from(STATEMENTS),)),
    "flip": (4, (_share, _byte)),
    "cut": (1, (_share,)),
    "page": (1, (_share, _byte)),
    "copy page": (1, (_share, _share)),
    "header": (3, (_share, st.integers(0, 40), _byte)),
    "append": (1, (st.sampled_from((1, 512, 4096, 100_000)),)),
}
"""(relative frequency, strategies of the arguments) of each change."""


def _changes(functions: dict[str, Any], most: int) -> st.SearchStrategy[tuple[tuple[Any, ...], ...]]:
    kinds = [kind for kind in functions for _ in range(_ARGUMENTS[kind][0])]
    change = st.sampled_from(kinds).flatmap(lambda kind: st.tuples(st.just(kind), *_ARGUMENTS[kind][1]))
    return st.lists(change, min_size=1, max_size=most).map(tuple)


def cases(options: tuple[str, ...]) -> st.SearchStrategy[Case]:
    """Return the strategy for cases: a seed, changes of rows and schema, of bytes, or of both, and an options name."""
    rows, raw = _changes(SCHEMA_CHANGES, 6), _changes(BYTE_CHANGES, 3)
    both = st.tuples(rows, raw).map(lambda pair: pair[0] + pair[1])
    kind = st.sampled_from(("rows", "rows", "rows", "rows", "raw", "raw", "both"))
    changes = kind.flatmap(lambda name: {"rows": rows, "raw": raw, "both": both}[name])
    return st.builds(Case, st.sampled_from(NAMES), changes, st.sampled_from(options))
