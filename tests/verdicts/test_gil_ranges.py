"""`-t python-gil` adds ranges across the program's own: they are no phases, and waits for the GIL lie inside these."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.output.detail_tables import table_notes
from tests.support.reports import find_report

WAIT_NS = 1_000_000
DOMAIN = 901


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result, int]:
    """Return a report's result without and with the ranges of `-t python-gil`, and the time of the waits in decode.

    As in a capture of nsys 2023.4: push/pop ranges of the domain `GIL Trace`, whose texts are in StringIds. The thread
    holds the GIL from before a step to its middle, waits, and holds it until after the step's end.
    """
    path = find_report("llama-1b")
    copy = tmp_path_factory.mktemp("gil") / "llama-1b.sqlite"
    shutil.copy(path, copy)
    with sqlite3.connect(copy) as database:
        steps = database.execute(
            "SELECT start, end, globalTid, coalesce(text, value) FROM NVTX_EVENTS LEFT JOIN StringIds ON id = textId "
            "WHERE eventType = 59 AND coalesce(text, value) IN ('prefill', 'decode')"
        ).fetchall()
        held = database.execute("SELECT max(id) FROM StringIds").fetchone()[0] + 1
        database.execute("INSERT INTO StringIds VALUES (?, 'Holding GIL'), (?, 'Waiting for GIL')", (held, held + 1))
        rows = [(0, None, 75, "GIL Trace", None, steps[0][2])]
        for start, end, thread, _ in steps:
            middle = (start + end) // 2
            rows.append((start - 50_000, middle, 59, None, held, thread))
            rows.append((middle, middle + WAIT_NS, 59, None, held + 1, thread))
            rows.append((middle + WAIT_NS, end + 50_000, 59, None, held, thread))
        database.executemany(
            "INSERT INTO NVTX_EVENTS (start, end, eventType, text, textId, domainId, globalTid) "
            f"VALUES (?, ?, ?, ?, ?, {DOMAIN}, ?)",
            rows,
        )
    database.close()
    waits = WAIT_NS * sum(label == "decode" for *_, label in steps)
    tables = ("ranges", "gaps")
    return analyze(path, tables=tables), analyze(copy, tables=tables), waits


def test_the_programs_own_marks_stay_the_phases(traced: tuple[Result, Result, int]) -> None:
    plain, gil, _ = traced
    assert [entry.phase for entry in gil.entries] == ["prefill", "decode"]
    for entry in gil.entries:
        same = plain.phase(entry.phase)
        assert (entry.wall_ns, entry.states_ns, entry.exposed_ns) == (same.wall_ns, same.states_ns, same.exposed_ns)
        assert entry.taxbreak == same.taxbreak


def test_a_wait_for_the_gil_is_a_range_inside_the_step(traced: tuple[Result, Result, int]) -> None:
    plain, gil, waits = traced
    rows = {row["path"]: row for row in gil.details.ranges or () if row["phase"] == "decode"}
    before = {row["path"]: row for row in plain.details.ranges or () if row["phase"] == "decode"}
    waited = {path: row for path, row in rows.items() if path.endswith("Waiting for GIL")}
    assert sum(row["total_ns"] for row in waited.values()) == waits
    assert all(path.startswith("decode/") for path in waited)
    assert not [path for path in rows if "Holding GIL" in path]
    assert rows["decode"]["total_ns"] == before["decode"]["total_ns"] == gil.phase("decode").wall_ns
    assert sum(row["self_ns"] for row in rows.values()) == gil.phase("decode").wall_ns


def test_the_table_of_ranges_says_what_the_waits_cost(traced: tuple[Result, Result, int]) -> None:
    plain, gil, waits = traced
    exposed = sum(
        row["exposed_ns"]
        for row in gil.details.ranges or ()
        if row["phase"] == "decode" and row["range"] == "Waiting for GIL"
    )
    wall = gil.phase("decode").wall_ns
    assert table_notes(plain, "taxbreak_nvtx_sum") == []
    said = table_notes(gil, "taxbreak_nvtx_sum", "nsec")
    assert len(said) == 2
    assert said[0].startswith("prefill: 1 wait for the GIL (Python's global lock) takes ")
    assert said[1] == (
        f"decode: 3 waits for the GIL (Python's global lock) take {waits} ns, {100 * waits / wall:.1f} % of the wall "
        f"time, {exposed} ns of it with the device idle."
    )


def test_a_report_with_such_ranges_alone_has_no_marks(tmp_path: Path) -> None:
    copy = tmp_path / "bare.sqlite"
    shutil.copy(find_report("llama-1b"), copy)
    with sqlite3.connect(copy) as database:
        database.execute(
            "UPDATE NVTX_EVENTS SET text = 'Holding GIL', textId = NULL WHERE eventType = 59 AND "
            "coalesce(text, (SELECT value FROM StringIds WHERE id = textId)) IN ('prefill', 'decode')"
        )
    database.close()
    assert {entry.phase_source.kind for entry in analyze(copy).entries} == {"auto"}
