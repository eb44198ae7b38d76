"""Captures that are whole and still mislead get their warning; sound ones get none of these."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taxbreak_nsys import Result, TaxbreakError, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.model.report_facts import ReportWarning
from tests.support.report_builder import KERNEL, RUNTIME, VERSIONS, build, thread_id

CODES = {
    "profiler_in_phase", "clock_step", "launch_queue_full", "capture_began_in_phase", "capture_ended_in_phase",
    "warm_up", "steps_stand_out", "events_lost", "rows_left_out",
}  # fmt: skip
TEN = tuple(f"decode_{number}" for number in range(10))


def warnings(result: Result) -> dict[str, ReportWarning]:
    return {w.code: w for w in result.report.warnings if w.code in CODES}


def changed(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


def test_sound_steps_warn_of_the_profiler_alone(tmp_path: Path) -> None:
    result = analyze(build(tmp_path / "r.sqlite", steps=TEN))
    assert set(warnings(result)) == {"profiler_in_phase"}
    # 2 of 100 us a step
    assert "decode 2.0%" in warnings(result)["profiler_in_phase"].message
    changed(tmp_path / "r.sqlite", "DELETE FROM PROFILER_OVERHEAD")
    assert warnings(analyze(tmp_path / "r.sqlite")) == {}


def test_warm_up_and_skip(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=("prefill", *TEN), longer={"decode_0": 300, "decode_1": 100})
    warning = warnings(analyze(path))["warm_up"]
    assert "decode (4.0 times the median)" in warning.message
    assert warning.remedy.endswith("--skip 2")
    skipped = analyze(path, skip=2)
    assert "warm_up" not in warnings(skipped)
    assert skipped.phase("decode").instances == 8
    assert skipped.phase("decode").wall_ns == 8 * 100_000
    # a phase of no more instances stays whole
    assert skipped.phase("prefill").instances == 1
    # what is skipped lies in no phase
    assert skipped.outside.kernels == 4
    shown = CliRunner().invoke(app, [str(path), "--skip", "2"])
    assert "8 instances" in shown.output


def test_modules_that_load_in_the_first_instance(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN, longer={"decode_0": 500})
    name = "(SELECT 900001)"
    changed(
        path,
        "INSERT INTO StringIds VALUES (900001, 'cuModuleLoadData')",
        f"INSERT INTO {RUNTIME}(start, end, globalTid, correlationId, nameId, eventClass) "
        f"SELECT 1110000, 1510000, globalTid, 999, {name}, 1 FROM {RUNTIME} LIMIT 1",
    )
    assert "0.4 ms of it loading modules" in warnings(analyze(path))["warm_up"].message


def test_an_instance_that_stands_out(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN, longer={"decode_6": 400})
    found = warnings(analyze(path))
    assert "warm_up" not in found
    assert "decode (1 of 10; number 7 took 5.0 times the median, most of it more in 'python')" in (
        found["steps_stand_out"].message
    )


def test_kernels_before_their_launch(tmp_path: Path) -> None:
    steps = tuple(f"decode_{number}" for number in range(80))
    path = build(tmp_path / "r.sqlite", steps=steps)
    floor = analyze(path)
    assert floor.t_sys_source == "idle_launches"
    changed(path, f"UPDATE {KERNEL} SET start = start - 12000, end = end - 12000 WHERE rowid % 10 = 1")
    stepped = analyze(path)
    assert "16 kernels start before the call" in warnings(stepped)["clock_step"].message
    # a floor below zero would give HDBI above one
    assert stepped.t_sys_ns == floor.t_sys_ns > 0


def test_launches_that_block_behind_their_stream(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN, longer=dict.fromkeys(TEN, 400))
    # the first kernel runs for 300 us, and the second launch waits 250 us for it
    changed(
        path,
        f"UPDATE {KERNEL} SET end = start + 300000 WHERE rowid % 2 = 1",
        f"UPDATE {RUNTIME} SET end = start + 280000 WHERE rowid % 3 = 2",
        f"UPDATE {KERNEL} SET start = start + 275000, end = end + 275000 WHERE rowid % 2 = 0",
        f"DELETE FROM {RUNTIME} WHERE rowid % 3 = 0",
    )
    assert "10 in decode" in warnings(analyze(path))["launch_queue_full"].message


def test_a_capture_that_begins_inside_a_phase(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN)
    changed(path, f"DELETE FROM {RUNTIME} WHERE start < 1030000")
    found = warnings(analyze(path))
    assert "capture_began_in_phase" in found
    assert "capture_ended_in_phase" not in found


@pytest.mark.parametrize("how", ["kernels are missing", "ranges end together"])
def test_a_capture_that_ends_inside_a_phase(how: str, tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN)
    if how == "kernels are missing":
        changed(path, f"DELETE FROM {KERNEL} WHERE rowid = (SELECT max(rowid) FROM {KERNEL})")
    else:
        thread = thread_id(0)
        changed(
            path,
            "UPDATE NVTX_EVENTS SET end = 99000000 WHERE text = 'decode_9'",
            "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) "
            f"VALUES (10010000, 99000000, 59, {thread}, 'layer', 0)",
        )
    found = warnings(analyze(path))
    assert "capture_ended_in_phase" in found
    assert "capture_began_in_phase" not in found


@pytest.mark.parametrize(
    ("collected", "text", "said"),
    [
        # nsys 2024 writes "might" into every report of a child process: only the counts say whether rows are missing
        (500, "Not all NVTX events might have been collected: /home/me", "nvtx: nsys collected 500 events"),
        (9, "Not all NVTX events might have been collected.", None),
        (None, "Not all NVTX events might have been collected.", None),
        (9, "2 NVTX events were dropped: /home/me", "nvtx: nsys says so"),
    ],
)
def test_what_nsys_says_went_missing(tmp_path: Path, collected: int | None, text: str, said: str | None) -> None:
    path = build(tmp_path / "r.sqlite", VERSIONS[6])
    changed(
        path,
        "CREATE TABLE DIAGNOSTIC_EVENT(timestamp, source, severity, text, globalPid)",
        "INSERT INTO DIAGNOSTIC_EVENT VALUES (0, 1, 1, 'Number of CUDA events collected: \t12.', 0)",
        f"INSERT INTO DIAGNOSTIC_EVENT VALUES (0, 1, 2, '{text}', 0)",
    )
    if collected is not None:
        count = f"Number of NVTX events collected: \t{collected}."
        changed(path, f"INSERT INTO DIAGNOSTIC_EVENT VALUES (0, 1, 1, '{count}', 0)")
    warning = warnings(analyze(path)).get("events_lost")
    assert (warning is None) == (said is None)
    assert said is None or (warning is not None and said in warning.message)
    assert "/home/me" not in analyze(path).to_json()


def test_skip_is_checked(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite")
    assert CliRunner().invoke(app, [str(path), "--skip", "-1"]).exit_code == 2
    assert CliRunner().invoke(app, [str(path), "--skip", "many"]).exit_code == 2
    assert analyze(path, skip=10**9).entries == analyze(path).entries
    with pytest.raises(TaxbreakError, match="--skip"):
        analyze(path, skip=-1)
