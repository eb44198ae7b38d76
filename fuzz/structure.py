"""A second generator of damaged reports: reads the schema of a report and changes rows according to column roles.

It is independent of `mutations`, which has a fixed list of tables and draws with Hypothesis. Here a seed number
determines the report, a stretch of its time, and the changes. Columns have roles: times, threads, join ids, references
to strings, kinds, texts. So it applies to reports of any engine, and to tables that nsys adds later.
"""

# ruff: noqa: E501  (a pattern, or a text, is one line)

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "sample_reports", Path(os.environ.get("TAXBREAK_REPORTS", "/nonexistent")))
REPORTS = {path.stem: path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.glob("*.sqlite"))}

_STRETCH = 350
"""Number of API calls in the stretch of most cases."""
_TIMES = {"start", "end", "timestamp"}
_THREADS = {"globaltid", "globalpid"}
_JOINS = {"correlationid", "id", "callchainid", "graphnodeid", "graphid", "rangeid", "nvtxrangeid"}
_KINDS = {"eventtype", "eventclass", "overheadtype", "copykind", "memkind", "isschedin", "stackdepth", "synctype"}
_PLACES = {"deviceid", "contextid", "streamid", "cpu", "gpuid"}
_STRINGS = {"nameid", "textid", "domainid", "demangledname", "shortname", "symbol", "module", "jsontextid"}

TEXTS = (
    "", " ", "\0", "a\0b", "\x1b]0;x\x07", "=cmd|'/c calc'!A1", "+1", "-1", "@x", "é" * 300, "\u202eabc", "<script>alert(1)</script>",
    "a" * 5_000, "ab" * 60_000, "(" * 2_000, "::" * 4_000, "<" * 3_000, "decode_" + "9" * 400, "step 99999999999999999999",
    "execute_context_3(999999999999)_generation_0(0)", "execute_context_0(0)_generation_7(7)", "execute_new_8_cached_3",
    "_forward_step 1: 5 ctx reqs", "forward_batch_decode", "aten::mm", "aten::" + "x" * 900, ", op_id = 77", "seq = -1",
    "ncclDevKernel_AllReduce_Sum_bf16", "cudaLaunchKernel_v7000", "cudaGraphLaunch_v10000", "cudaStreamSynchronize",
    "cuModuleLoadData", "nvjet_hsh_64x8_64x16_1x1_h_bz_TNT", "void gemv2T_kernel_val<int>", "idle", "prefill", "decode",
    "{\"a\": NaN}", "'; DROP TABLE reports; --", "/home/user/secret/model.py", "HF_TOKEN=hf_abcdefghijklmnop", "%s%n%x", "\ufeffx",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 0.5, 1e300, -1e300, float("inf"), None, "",
    "12", "soon", b"\x00\xff", 254 << 56,
)  # fmt: skip


@cache
def columns(report: str) -> dict[str, list[tuple[str, str]]]:
    """Return {table: [(column, role)]} of the tables that have rows."""
    with sqlite3.connect(REPORTS[report].as_uri() + "?immutable=1", uri=True) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {
            name: [(row[1], _role(row[1], row[2])) for row in database.execute(f'PRAGMA table_info("{name}")')]
            for name in names
            if not name.startswith(("ENUM_", "sqlite_")) and database.execute(f'SELECT 1 FROM "{name}"').fetchone()
        }
    database.close()
    return tables


def _role(name: str, kind: str) -> str:
    lower = name.lower()
    roles = (
        ("time", _TIMES), ("thread", _THREADS), ("join", _JOINS), ("kind", _KINDS), ("place", _PLACES),
        ("string", _STRINGS),
    )  # fmt: skip
    for role, names in roles:
        if lower in names:
            return role
    return "text" if "TEXT" in kind.upper() else "number"


@cache
def stretch(report: str, part: int) -> bytes:
    """Return a report cut to its first, middle or last API calls (part 0, 1, 2), or the whole report (part 3)."""
    data = REPORTS[report].read_bytes()
    if part == 3:
        return data
    database = _open(data)
    count = database.execute("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_RUNTIME").fetchone()[0]
    offset = max(0, (count - _STRETCH) * part // 2)
    window = database.execute(
        "SELECT min(start), max(end) FROM (SELECT start, end FROM CUPTI_ACTIVITY_KIND_RUNTIME ORDER BY start LIMIT ? "
        "OFFSET ?)",
        (_STRETCH, offset),
    ).fetchone()
    if window[0] is not None:
        for table, present in columns(report).items():
            names = {name for name, _ in present}
            if {"start", "end"} <= names and not table.startswith("TARGET_INFO"):
                database.execute(
                    f'DELETE FROM "{table}" WHERE start > ? OR coalesce(end, start) < ?', (window[1], window[0])
                )
            elif "start" in names and not table.startswith("TARGET_INFO"):
                database.execute(f'DELETE FROM "{table}" WHERE start NOT BETWEEN ? AND ?', window)
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("VACUUM")
    return _bytes(database)


def _open(data: bytes) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.deserialize(data)
    return database


def _bytes(database: sqlite3.Connection) -> bytes:
    data = database.serialize()
    database.close()
    return data


def build_mutant(seed: int) -> tuple[bytes, str]:
    """Return the mutant (an SQLite file) of a seed number, and a description of its changes."""
    draw = random.Random(seed)
    report = draw.choice(sorted(REPORTS))
    part = draw.choices((0, 1, 2, 3), (4, 4, 3, 1))[0]
    data = stretch(report, part)
    log = [f"{report}[{part}]"]
    rows = draw.random() < 0.85
    if rows:
        database = _open(data)
        database.execute("PRAGMA writable_schema=ON")
        for _ in range(draw.choice((1, 1, 1, 2, 3, 5, 8))):
            change = draw.choice(_ROW_CHANGES)
            try:
                log.append(f"{change.__name__}: {change(draw, database, columns(report))}")
            except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError, TypeError) as error:
                log.append(f"{change.__name__}: {error}")
        data = _bytes(database)
    if not rows or draw.random() < 0.1:
        for _ in range(draw.choice((1, 1, 2, 4))):
            data, what = draw.choice(_BYTE_CHANGES)(draw, data)
            log.append(what)
    return data, "; ".join(log)


Tables = dict[str, list[tuple[str, str]]]


def _column(draw: random.Random, tables: Tables, *roles: str) -> tuple[str, str]:
    places = [(table, name) for table, present in tables.items() for name, role in present if role in roles]
    return draw.choice(places) if places else ("StringIds", "value")


def _rows(draw: random.Random) -> str:
    share = draw.choice((1, 2, 3, 7, 50, 400))
    return f"rowid % {share} = {draw.randrange(share)}"


def set_number(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Write an extreme or mistyped value into a numeric column."""
    table, name = _column(draw, tables, "time", "thread", "join", "kind", "place", "string", "number")
    value, where = draw.choice(NUMBERS), _rows(draw)
    database.execute(f'UPDATE "{table}" SET "{name}" = ? WHERE {where}', (value,))
    return f"{table}.{name} = {value!r} where {where}"


def move_times(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Shift, stretch, swap or fold times of a table."""
    table, name = _column(draw, tables, "time")
    expression = draw.choice((
        f'"{name}" + {draw.choice((1, -1)) * draw.choice((1, 999, 10**6, 10**9, 10**13, 2**61))}', "start", "-start",
        f'"{name}" / 1000', f'"{name}" * 1000', f'"{name}" % 100000', f'"{name}" - "{name}" % 1000000', "end", "end - 1",
        "start + (rowid * 7919) % 50000", "(SELECT max(start) FROM CUPTI_ACTIVITY_KIND_RUNTIME)",
        "(SELECT min(start) FROM CUPTI_ACTIVITY_KIND_RUNTIME)", "start + rowid",
    ))  # fmt: skip
    where = _rows(draw)
    database.execute(f'UPDATE "{table}" SET "{name}" = {expression} WHERE {where}')
    return f"{table}.{name} = {expression} where {where}"


def redirect(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Make ids, threads and references point to other rows or to none."""
    table, name = _column(draw, tables, "thread", "join", "string", "place")
    other, column = _column(draw, tables, "thread", "join", "string", "place")
    expression = draw.choice((
        f'(SELECT "{column}" FROM "{other}" LIMIT 1)', f'(SELECT max("{column}") FROM "{other}")', f'"{name}" + 1',
        f'"{name}" / 2', f'"{name}" % 3', "rowid", f'"{name}" | (rowid % 2 << 24)', f'"{name}" + (rowid % 5)', "0",
    ))  # fmt: skip
    where = _rows(draw)
    database.execute(f'UPDATE "{table}" SET "{name}" = {expression} WHERE {where}')
    return f"{table}.{name} = {expression} where {where}"


def set_kind(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Change the kind of events."""
    table, name = _column(draw, tables, "kind")
    value, where = draw.choice((0, 1, 2, 27, 33, 34, 39, 59, 60, 70, 71, 75, 127, 255)), _rows(draw)
    database.execute(f'UPDATE "{table}" SET "{name}" = ? WHERE {where}', (value,))
    return f"{table}.{name} = {value} where {where}"


def set_text(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Write an unusual text, or bytes that are no UTF-8, into a text column."""
    table, name = draw.choice((("StringIds", "value"), ("NVTX_EVENTS", "text"), _column(draw, tables, "text")))
    text = draw.choice(TEXTS)
    value: object = text if draw.random() < 0.8 else b"\xff\xfe" + text.encode("utf-8", "replace")[:100]
    where = _rows(draw)
    if len(text) > 4000:
        where = f'rowid IN (SELECT rowid FROM "{table}" LIMIT {draw.choice((1, 20))})'
    number = " || (rowid % 17)" if isinstance(value, str) and draw.random() < 0.5 else ""
    database.execute(f'UPDATE "{table}" SET "{name}" = ?{number} WHERE {where}', (value,))
    return f"{table}.{name} = {str(text)[:20]!r}{number} where {where}"


def lose_rows(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Delete some rows, all rows, or the last rows of a table, as an aborted import does."""
    table = draw.choice(sorted(tables))
    where = draw.choice(
        (_rows(draw), "true", f'rowid > (SELECT max(rowid) * {draw.randrange(10)} / 10 FROM "{table}")')
    )
    database.execute(f'DELETE FROM "{table}" WHERE {where}')
    return f"delete from {table} where {where}"


def repeat_rows(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Duplicate rows, at the same or a later time."""
    table, _ = _column(draw, tables, "time")
    shift, times = draw.choice((0, 0, 10**6, 10**9)), draw.choice((1, 1, 2, 4))
    names = [name for name, _ in tables[table]]
    values = [f'"{name}" + {shift}' if role == "time" else f'"{name}"' for name, role in tables[table]]
    listed = ", ".join(f'"{name}"' for name in names)
    for _ in range(times):
        database.execute(f'INSERT INTO "{table}" ({listed}) SELECT {", ".join(values)} FROM "{table}" LIMIT 3000')
    return f"repeat {table} x{times} + {shift}"


def nest_ranges(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Add NVTX ranges (nested, side by side, crossing, without end) with texts of users, engines and operators."""
    low, high, thread = database.execute(
        "SELECT min(start), max(end), max(globalTid) FROM CUPTI_ACTIVITY_KIND_RUNTIME"
    ).fetchone()
    count, text = draw.choice((1, 3, 30, 300, 3000)), draw.choice(TEXTS)[:60]
    span = max(1, (int(high) - int(low)) // (2 * count))
    form = draw.choice(("nested", "beside", "crossing", "open"))
    ends = {
        "nested": lambda k: high - k * span, "beside": lambda k: low + (k + 1) * span,
        "crossing": lambda k: low + (k + 3) * span, "open": lambda k: None,
    }[form]  # fmt: skip
    rows = [(low + k * span, ends(k), draw.choice((59, 60)), thread, f"{text}{k % 9}", 0) for k in range(count)]
    database.executemany(
        "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    return f"{count} {form} ranges {text!r}"


def more_processes(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Move some events to another process or thread."""
    shift, where = draw.choice((1, 7, 1 << 24, 5 << 24)), _rows(draw)
    changed = []
    for table, present in tables.items():
        for name, role in present:
            if role == "thread" and draw.random() < 0.7:
                database.execute(f'UPDATE "{table}" SET "{name}" = "{name}" + {shift} WHERE {where}')
                changed.append(table)
    return f"{len(changed)} tables + {shift} where {where}"


def change_schema(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Drop, rename, retype or replace a table or column."""
    table = draw.choice(sorted(tables))
    name = draw.choice(tables[table])[0]
    statement = draw.choice((
        f'DROP TABLE "{table}"', f'ALTER TABLE "{table}" RENAME TO "{table}_x"', f'ALTER TABLE "{table}" DROP COLUMN "{name}"',
        f'ALTER TABLE "{table}" RENAME COLUMN "{name}" TO "x{name}"', f'ALTER TABLE "{table}" ADD COLUMN "extra" TEXT',
        f'CREATE VIEW "v" AS SELECT * FROM "{table}"', f'CREATE TRIGGER "t" AFTER INSERT ON "{table}" BEGIN SELECT 1; END',
        f'CREATE INDEX "i" ON "{table}"("{name}")', f"UPDATE sqlite_master SET sql = replace(sql, 'INT', 'TEXT') WHERE name = '{table}'",
        f"UPDATE sqlite_master SET rootpage = 1 WHERE name = '{table}'", f"UPDATE sqlite_master SET name = lower(name) WHERE name = '{table}'",
        f"UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'StringIds') WHERE name = '{table}'",
        f'ALTER TABLE "{table}" ADD COLUMN "g" AS (1)',
    ))  # fmt: skip
    database.execute(statement)
    return statement


def shuffle_rows(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Write a table's rows in an order other than time."""
    table, _ = _column(draw, tables, "time")
    order = draw.choice(("random()", "end", "start DESC", "rowid DESC", "start % 1000"))
    database.execute(f'CREATE TABLE shuffled AS SELECT * FROM "{table}" ORDER BY {order}')
    database.execute(f'DELETE FROM "{table}"')
    database.execute(f'INSERT INTO "{table}" SELECT * FROM shuffled')
    database.execute("DROP TABLE shuffled")
    return f"{table} by {order}"


def grow(draw: random.Random, database: sqlite3.Connection, tables: Tables) -> str:
    """Multiply a table's rows, which share one long name."""
    length, times = draw.choice((100, 8_000, 100_000)), draw.choice((3, 5))
    table, name = draw.choice((("CUPTI_ACTIVITY_KIND_RUNTIME", "nameId"), ("NVTX_EVENTS", "textId"),
                               ("CUPTI_ACTIVITY_KIND_KERNEL", "demangledName"), ("OSRT_API", "nameId")))  # fmt: skip
    database.execute("INSERT OR REPLACE INTO StringIds(id, value) VALUES (77777777, ?)", ("n" * length,))
    database.execute(f'UPDATE "{table}" SET "{name}" = 77777777 WHERE {_rows(draw)}')
    for _ in range(times):
        database.execute(f'INSERT INTO "{table}" SELECT * FROM "{table}" LIMIT 20000')
    return f"{table} x2^{times} with names of {length}"


def _flip(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    at, count = draw.randrange(max(1, len(data))), draw.choice((1, 1, 2, 40, 2000))
    part = bytes(draw.randrange(256) for _ in range(count))
    return data[:at] + part + data[at + count :], f"{count} bytes at {at}"


def _page(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    pages = max(2, len(data) // 4096)
    target, source = draw.randrange(1, pages), draw.choice((None, draw.randrange(pages)))
    part = bytes(4096) if source is None else data[4096 * source : 4096 * source + 4096]
    return data[: 4096 * target] + part + data[4096 * target + 4096 :], f"page {target} = {source}"


def _page_head(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    at = 4096 * draw.randrange(1, max(2, len(data) // 4096)) + draw.randrange(16)
    return data[:at] + bytes([draw.choice((0, 2, 5, 10, 13, 255))]) + data[at + 1 :], f"head of a page at {at}"


def _header(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    at = draw.randrange(16, 100)
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :], f"header byte {at}"


def _cut(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    length = draw.randrange(len(data) + 1)
    return data[:length], f"cut to {length}"


def _append(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    length = draw.choice((1, 4096, 10**6))
    return data + bytes(length), f"{length} bytes appended"


RowChange = Callable[[random.Random, sqlite3.Connection, Tables], str]
_ROW_CHANGES: tuple[RowChange, ...] = (
    set_number, set_number, move_times, move_times, redirect, redirect, set_kind, set_text, set_text, lose_rows,
    repeat_rows, nest_ranges, nest_ranges, more_processes, change_schema, shuffle_rows, grow,
)  # fmt: skip
_BYTE_CHANGES = (_flip, _flip, _page, _page_head, _page_head, _header, _cut, _append)
