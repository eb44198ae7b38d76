"""What can be wrong with a report: changes of its rows, its schema and its bytes, and a strategy that draws them."""

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
    "CUPTI_ACTIVITY_KIND_KERNEL": (*_DEVICE, "demangledName", "shortName"),
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
    """A seed and what is done to it, in order; as JSON it is a line of the corpus."""

    seed: str
    changes: tuple[tuple[Any, ...], ...]
    options: str = ""
    """Which options the analysis gets (`oracle.OPTIONS`)."""

    def to_json(self) -> str:
        """Return the case as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read a case back."""
        data = json.loads(text)
        return cls(data["seed"], tuple(tuple(change) for change in data["changes"]), data["options"])


def build_case(case: Case) -> bytes:
    """Return the report of a case; a change that does not fit the seed is left out."""
    changed = [change for change in case.changes if change[0] not in BYTE_CHANGES]
    data = seed(case.seed)
    if changed:
        database = sqlite3.connect(":memory:", isolation_level=None)
        try:
            for kind, *arguments in changed:
                # each on a connection of its own: one that has read the schema does not see it rewritten
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
    one, other = _at(data, source) // 4096 * 4096, _at(data, target) // 4096 * 4096
    return data[:other] + data[one : one + 4096] + data[other + 4096 :]


def _header(data: bytes, share: int, offset: int, value: int) -> bytes:
    """Write into the header of a page: its type, its cells, where its content begins, its children."""
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

_table, _where = st.sampled_from((*_OFTEN, *COLUMNS)), st.sampled_from(WHERE)
# sampled, not drawn as integers: hypothesis draws small integers, and the file's head, too often
_share = st.sampled_from(tuple(range(0, 10_001, 7)))
_byte = st.integers(0, 255)
_sets = st.tuples(
    st.just("set"),
    st.sampled_from(_PLACES),
    st.one_of(st.sampled_from(VALUES), st.integers(-(2**63), 2**63 - 1).map(str)),
    _where,
)
_change = st.one_of(
    _sets,
    _sets,
    _sets,
    _sets,
    st.tuples(st.just("untype"), _table),
    st.tuples(st.just("swap"), _table, _where),
    st.tuples(st.just("shift"), _table, st.sampled_from((-(10**15), -(10**9), -500, 7, 10**6, 10**12, 10**18)), _where),
    st.tuples(st.just("repeat"), _table, st.integers(1, 4)),
    st.tuples(st.just("drop table"), _table),
    st.tuples(st.just("drop column"), st.sampled_from(_PLACES)),
    st.tuples(st.just("empty"), _table),
    st.tuples(st.just("mix"), _table, st.integers(1, 1008)),
    st.tuples(
        st.just("ranges"),
        st.sampled_from(tuple(RANGE_FORMS)),
        st.sampled_from((1, 2, 10, 100, 2000)),
        st.sampled_from(("step ", "aten::mm", "cublasGemmEx", "", "__")),
    ),
    st.tuples(st.just("statement"), st.sampled_from(STATEMENTS)),
    st.tuples(st.just("flip"), _share, st.integers(1, 255)),
    st.tuples(st.just("cut"), _share),
    st.tuples(st.just("page"), _share, _byte),
    st.tuples(st.just("copy page"), _share, _share),
    st.tuples(st.just("header"), _share, st.integers(0, 40), _byte),
    st.tuples(st.just("append"), st.sampled_from((1, 512, 4096, 100_000))),
)


def cases(options: tuple[str, ...]) -> st.SearchStrategy[Case]:
    """Return the strategy: a seed, up to five changes, a choice of options."""
    return st.builds(
        Case,
        st.sampled_from(NAMES),
        st.lists(_change, min_size=1, max_size=5).map(tuple),
        st.sampled_from(options),
    )
