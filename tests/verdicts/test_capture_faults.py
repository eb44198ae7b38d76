"""Faults of a capture that would send a reader the wrong way: each has its warning, sound reports have none."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from tests.support.report_builder import KERNEL, RUNTIME, VERSIONS, build, thread_id

TEN = tuple(f"decode_{number}" for number in range(10))
OVERHEAD = "CUPTI_ACTIVITY_KIND_OVERHEAD"


def changed(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


def messages(result: Result) -> dict[str, str]:
    return {w.code: f"{w.message}; {w.remedy}" for w in result.report.warnings}


def test_lazy_loading_inside_a_launch_is_no_launch_path(tmp_path: Path) -> None:
    """Each step's first launch call, 10 to 14 us, loads a module from 11 to 13 us; the floor stays the launch's."""
    path = build(tmp_path / "r.sqlite", VERSIONS[6], steps=TEN)
    plain = analyze(path).phase("decode")
    rows = ", ".join(
        f"({(1000 * (k + 1) + 11) * 1000}, {(1000 * (k + 1) + 13) * 1000}, {thread_id(0)}, 1, 103, 7)"
        for k in range(10)
    )
    changed(path, f"INSERT INTO {OVERHEAD} (start, end, globalTid, nameId, eventClass, overheadType) VALUES {rows}")
    result = analyze(path)
    loaded = result.phase("decode")
    moved = 10 * 2_000
    assert loaded.states_ns["module_load"] == moved
    assert loaded.states_ns["launch"] == plain.states_ns["launch"] - moved
    assert sum(loaded.states_ns.values()) == loaded.wall_ns
    assert loaded.taxbreak.delta_kt_ns == plain.taxbreak.delta_kt_ns
    # 2 of 100 us are not worth a warning; most of a step is
    assert "module_loading" not in messages(result)
    changed(path, f"UPDATE {OVERHEAD} SET start = start - 11000, end = end + 37000 WHERE overheadType = 7")
    mostly = analyze(path)
    assert mostly.phase("decode").states_ns["module_load"] == 10 * 50_000
    assert "decode 50.0%" in messages(mostly)["module_loading"]
    assert "warm up before capturing" in messages(mostly)["module_loading"]
    verdict = mostly.phase("decode").verdict
    assert verdict.target == "module_load"
    assert "warm up before capturing" in verdict.advice


def test_a_device_clock_that_is_late_is_noticed(tmp_path: Path) -> None:
    """The synchronisation of a step returns at 90 us; its work ends at 60 us, or with a late clock at 1060 us."""
    path = build(tmp_path / "r.sqlite", steps=TEN)
    assert "clock_late" not in messages(analyze(path))
    changed(path, f"UPDATE {KERNEL} SET start = start + 1000000, end = end + 1000000")
    message = messages(analyze(path))["clock_late"]
    assert "after 10 of 10 synchronisations" in message
    assert "by up to 0.970 ms" in message
    assert "T_sys" in message


def test_a_late_clock_is_noticed_behind_several_streams(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN)
    changed(path, f"UPDATE {KERNEL} SET streamId = 7 + rowid % 2")
    assert "clock_late" not in messages(analyze(path))
    changed(path, f"UPDATE {KERNEL} SET start = start + 1000000, end = end + 1000000")
    assert "clock_late" in messages(analyze(path))


def test_os_calls_that_were_traced_and_are_missing(report, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    shutil.copy(report("inject"), path)
    os.chmod(path, 0o644)
    assert "os_runtime_lost" not in messages(analyze(path))
    lost = messages(analyze(changed(path, "DROP TABLE OSRT_API")))
    # 200 sleeps of 50 us in each step of `blocked`
    assert "blocked" in lost["os_runtime_lost"]
    # a report that was not told to trace them says so instead
    changed(path, "DELETE FROM META_DATA_CAPTURE WHERE value = 'OSRuntime'")
    untraced = messages(analyze(path))
    assert "no_os_runtime" in untraced
    assert "os_runtime_lost" not in untraced


@pytest.mark.parametrize("code", ["clock_late", "clock_step", "os_runtime_lost", "events_lost", "module_loading"])
def test_sound_reports_have_none_of_these(any_report: Path, code: str) -> None:
    assert code not in messages(analyze(any_report))


def test_launches_and_loads_of_the_scenario_are_as_assumed(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN)
    with sqlite3.connect(path) as database:
        ((start, end),) = database.execute(f"SELECT start, end FROM {RUNTIME} ORDER BY start LIMIT 1").fetchall()
    database.close()
    assert (start, end) == (1_010_000, 1_014_000)
