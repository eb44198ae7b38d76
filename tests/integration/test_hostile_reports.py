"""Broken and hostile files: one line that says what is wrong, in time, and nothing written beside them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.model.name_rules import api_name, phase_label
from taxbreak_nsys.read.column_checks import LONGEST_TEXT
from taxbreak_nsys.read.database import open_report
from taxbreak_nsys.result import Phase
from tests.support.report_builder import KERNEL, PID, RUNTIME, build

Change = Callable[[sqlite3.Connection], object]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A small sound report, free to be broken."""
    return build(tmp_path / "report.sqlite")


def change(path: Path, *statements: str) -> Path:
    for statement in statements:
        # a connection each: one that has read the schema does not see it rewritten
        with sqlite3.connect(path, isolation_level=None) as database:
            database.execute("PRAGMA writable_schema=ON")
            database.execute(statement)
        database.close()
    return path


def retyped(table: str, column: str, value: str, rows: str = "rowid = 3") -> list[str]:
    """Take the types from a table's columns, so that any row may hold anything, and set a column."""
    return [
        f"UPDATE sqlite_master SET sql = replace(sql, 'INTEGER', '') WHERE name = '{table}'",
        f"UPDATE {table} SET {column} = {value} WHERE {rows}",
    ]


REFUSED: dict[str, tuple[list[str], str]] = {
    "view in place of a table": (
        [f"ALTER TABLE {KERNEL} RENAME TO hidden", f"CREATE VIEW {KERNEL} AS SELECT * FROM hidden"],
        "holds a view",
    ),
    "trigger": (["CREATE TRIGGER t AFTER INSERT ON StringIds BEGIN SELECT 1; END"], "holds a trigger"),
    "virtual table": (
        ["DROP TABLE StringIds", "CREATE VIRTUAL TABLE StringIds USING fts5(id, value)"],
        "not a plain table",
    ),
    "computed column": (
        [f"ALTER TABLE {RUNTIME} ADD COLUMN extra AS (hex(zeroblob(100000000))) VIRTUAL"],
        "not a plain table",
    ),
    "index on an expression": (["CREATE INDEX i ON StringIds(abs(id))"], "conditions or expressions"),
    "partial index": (["CREATE INDEX i ON StringIds(id) WHERE id > 12"], "conditions or expressions"),
    "text for a time": (retyped(RUNTIME, "start", "'soon'"), "damaged"),
    "text for all times": (
        retyped(RUNTIME, "start", "CAST(start AS TEXT)", "true"),
        "text in 'start_ns', where integers are due",
    ),
    "unsigned id beyond 64 bits": (
        retyped(RUNTIME, "globalTid", "18302628885633695744.0", "true"),
        "no exact integers",
    ),
    "blob for an id": (retyped(RUNTIME, "correlationId", "x'00ff'"), "damaged"),
    "fraction of a nanosecond": (retyped(KERNEL, "end", "1025000.5"), "no exact integers"),
    "time beyond every capture": ([f"UPDATE {KERNEL} SET end = 9223372036854775807 WHERE rowid = 2"], "no nanoseconds"),
    "time a year away": ([f"UPDATE {KERNEL} SET end = end + 31536000000000000 WHERE rowid = 2"], "days from others"),
    "no column that is needed": ([f"ALTER TABLE {RUNTIME} DROP COLUMN correlationId"], "has no column correlationId"),
    "no API calls": ([f"DROP TABLE {RUNTIME}"], "holds no CUDA API calls"),
    "no strings": (["DROP TABLE StringIds"], "not an Nsight Systems export"),
    "no launches": ([f"DELETE FROM {KERNEL}"], "no CUDA launch with device work"),
    "no kernels' table": ([f"DROP TABLE {KERNEL}"], "no CUDA launch with device work"),
    "one correlation id for all": (
        [
            f"INSERT INTO {RUNTIME} SELECT r.* FROM {RUNTIME} r, {RUNTIME}, {RUNTIME}",
            f"INSERT INTO {KERNEL} SELECT k.* FROM {KERNEL} k, {KERNEL}, {KERNEL}, {KERNEL}",
            f"UPDATE {RUNTIME} SET correlationId = 1",
            f"UPDATE {KERNEL} SET correlationId = 1",
        ],
        "ids that far more than one CUDA call has",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_line(name: str, sound: Path) -> None:
    statements, message = REFUSED[name]
    change(sound, *statements)
    beside = sorted(sound.parent.iterdir())
    began = time.monotonic()
    shown = CliRunner().invoke(app, [str(sound)])
    assert time.monotonic() - began < 10
    assert isinstance(shown.exception, TaxbreakError), shown.output
    assert message in str(shown.exception)
    assert str(shown.exception).startswith(f"{sound}: ")
    assert "\n" not in str(shown.exception)
    assert sorted(sound.parent.iterdir()) == beside


def test_cut_short_says_how_much_is_there(sound: Path) -> None:
    whole = sound.read_bytes()
    for size in (0, 1, 16, 50, 100, 511, 4096, len(whole) // 2, len(whole) - 1):
        sound.write_bytes(whole[:size])
        with pytest.raises(TaxbreakError, match=r"is empty|not an SQLite file|cut short"):
            analyze(sound)


def test_pages_that_point_back_at_each_other_end(sound: Path) -> None:
    """A tree in which every page lists the same child 300 times has 300^20 rows."""
    page = 4096
    change(sound, f"INSERT INTO {RUNTIME} SELECT r.* FROM {RUNTIME} r, {RUNTIME}, {RUNTIME}")
    with sqlite3.connect(sound) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (RUNTIME,)).fetchone()
    database.close()
    data = bytearray(sound.read_bytes())
    base = (root - 1) * page
    assert data[base] == 5, "the table needs more than one page"
    last = len(data) // page
    levels = 12
    data += bytes(page * levels)
    data[28:32] = (last + levels).to_bytes(4, "big")
    data[92:96] = data[24:28]
    leaf = int.from_bytes(data[base + 8 : base + 12], "big")
    for level in range(levels):
        child = last + level + 2 if level < levels - 1 else leaf
        write_interior(data, (last + level) * page, child, page)
    write_interior(data, base, last + 1, page)
    sound.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(TaxbreakError, match=r"takes longer|damaged"):
        analyze(sound)
    assert time.monotonic() - began < 10


def write_interior(data: bytearray, base: int, child: int, page: int, cells: int = 300) -> None:
    data[base : base + page] = bytes(page)
    content = page - 5 * cells
    data[base] = 5
    data[base + 3 : base + 5] = cells.to_bytes(2, "big")
    data[base + 5 : base + 7] = content.to_bytes(2, "big")
    data[base + 8 : base + 12] = child.to_bytes(4, "big")
    for cell in range(cells):
        at = content + 5 * cell
        data[base + 12 + 2 * cell : base + 14 + 2 * cell] = at.to_bytes(2, "big")
        data[base + at : base + at + 4] = child.to_bytes(4, "big")
        data[base + at + 4] = 1


def test_changes_that_lie_beside_the_file(sound: Path) -> None:
    log = sound.with_name(sound.name + "-wal")
    log.write_bytes(b"frames")
    with pytest.raises(TaxbreakError, match="another program has it open"):
        analyze(sound)
    log.write_bytes(b"")
    assert analyze(sound).entries
    journal = sound.with_name(sound.name + "-journal")
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(500))
    with pytest.raises(TaxbreakError, match="export was broken off"):
        analyze(sound)
    journal.write_bytes(bytes(512))
    assert analyze(sound).entries


def test_a_file_that_changes_while_it_is_read(sound: Path) -> None:
    with pytest.raises(TaxbreakError, match="changed while it was read"), open_report(sound):
        os.utime(sound, ns=(0, 0))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.sqlite"
    os.mkfifo(pipe)
    with pytest.raises(TaxbreakError, match="not a regular file"):
        analyze(pipe)


def test_the_arrow_driver_opens_with_the_same_care(sound: Path) -> None:
    with open_report(sound) as database:
        for setting, value in (("trusted_schema", 0), ("cell_size_check", 1), ("query_only", 1)):
            (answer,) = database._batches(f"PRAGMA {setting}", {})
            assert answer.to_pylist() == [{setting: value}]
        with pytest.raises(Exception, match=r"not authorized|no such function"):
            database._execute("SELECT load_extension('x')")


def test_damaged_rows_are_left_out_and_counted(sound: Path) -> None:
    change(
        sound,
        f"UPDATE {KERNEL} SET start = end + 5, end = start WHERE rowid = 1",
        f"UPDATE {KERNEL} SET globalPid = NULL WHERE rowid = 2",
    )
    result = analyze(sound)
    (warning,) = [w for w in result.report.warnings if w.code == "rows_left_out"]
    assert "1 kernels that end before they start" in warning.message
    assert "1 kernels without a time or thread" in warning.message
    assert result.phase("prefill").kernels == 0


def test_integers_stored_as_reals_are_the_same_integers(sound: Path, tmp_path: Path) -> None:
    def entries(path: Path) -> list[Phase]:
        # the verdict's command names the file
        return [replace(e, verdict=replace(e.verdict, command=None)) for e in analyze(path).entries]

    expected = entries(sound)
    loose = tmp_path / "loose.sqlite"
    shutil.copy(sound, loose)
    change(loose, *retyped(RUNTIME, "correlationId", "correlationId + 0.0", "true"))
    assert entries(loose) == expected


def test_text_of_any_bytes(sound: Path) -> None:
    name = f"(SELECT shortName FROM {KERNEL} WHERE rowid = 1)"
    for value in ("x'ff00fe'", "CAST(x'c328' AS TEXT)", "'a' || char(0) || 'b'", "zeroblob(10000000)", "7"):
        change(sound, f"UPDATE StringIds SET value = {value} WHERE id = {name}")
        change(sound, f"UPDATE NVTX_EVENTS SET text = {value} WHERE text = 'prefill' OR rowid = 2")
        for arguments in ([], ["-f", "json"], ["-f", "csv"], ["-r", "taxbreak_kern_sum"]):
            shown = CliRunner().invoke(app, [str(sound), *arguments])
            assert shown.exit_code == 0, (value, shown.exception)
        longest = max(len(row["name"]) for row in analyze(sound).kernel_rows)
        assert longest < LONGEST_TEXT + 100


def test_long_names_stay_apart(sound: Path) -> None:
    change(
        sound, f"UPDATE StringIds SET value = hex(zeroblob(20000)) || id WHERE id IN (SELECT shortName FROM {KERNEL})"
    )
    # beside the kernels there is a row for the host time that led to none
    assert len({row["name"] for row in analyze(sound).kernel_rows if row["launches"]}) == 2


def test_names_are_judged_in_linear_time() -> None:
    began = time.monotonic()
    assert phase_label("1" * 200_000 + "x") == "1" * 200_000 + "x"
    assert phase_label("_" * 200_000 + "1x") == "_" * 200_000 + "1x"
    assert phase_label("step _#: 12") == "step"
    assert api_name("_v1" * 20_000 + "x") == "_v1" * 20_000 + "x"
    assert api_name("cudaMemcpyAsync_v3020_ptsz") == "cudaMemcpyAsync"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["aten::mm", "phase"])
def test_a_million_nested_ranges(text: str, sound: Path) -> None:
    thread = "(SELECT globalTid FROM NVTX_EVENTS LIMIT 1)"
    change(
        sound,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) "
        "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) "
        f"SELECT 990000 + i / 110, 6000000 - i, 59, {thread}, '{text}', 0 FROM n",
    )
    began = time.monotonic()
    entries = analyze(sound).entries
    assert time.monotonic() - began < 20
    for entry in entries:
        assert sum(entry.states_ns.values()) == entry.wall_ns


def test_more_phases_than_a_table_can_show(sound: Path) -> None:
    thread = "(SELECT globalTid FROM NVTX_EVENTS LIMIT 1)"
    change(
        sound,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
        "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) "
        f"SELECT 10000000 + 10 * i, 10000005 + 10 * i, 59, {thread}, 'request ' || i || ' of a user', 0 FROM n",
    )
    with pytest.raises(TaxbreakError, match="choose some with --phase"):
        analyze(sound)
    assert analyze(sound, phases={"decode": "^decode"}).phase("decode").thread == PID
