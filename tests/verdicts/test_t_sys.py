"""The floor of the launch path: of this machine, and never above what its launches took."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taxbreak_nsys import Result, TaxbreakError, analyze
from tests.support.report_builder import KERNEL, build
from tests.support.reports import columns_of


def changed(path: Path, statement: str) -> Path:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    return path


def codes(result: Result) -> set[str]:
    return {w.code for w in result.report.warnings if w.code.startswith("t_sys")}


def test_a_null_report_of_another_gpu_is_refused(tmp_path: Path) -> None:
    null = build(tmp_path / "null.sqlite")
    h200 = changed(build(tmp_path / "r.sqlite"), "UPDATE TARGET_INFO_GPU SET name = 'NVIDIA H200'")
    with pytest.raises(TaxbreakError) as caught:
        analyze(h200, null_report=null)
    message = str(caught.value)
    assert "NVIDIA H100 80GB HBM3" in message
    assert "NVIDIA H200" in message
    assert "--t-sys" in message
    assert "\n" not in message
    same = analyze(build(tmp_path / "same.sqlite"), null_report=null)
    assert same.t_sys_source == "null_report"
    # a report that does not say its GPU cannot be told apart
    assert analyze(changed(h200, "DROP TABLE TARGET_INFO_GPU"), null_report=null).t_sys_source == "null_report"


def test_the_floor_is_never_above_what_launches_took(tmp_path: Path) -> None:
    # every launch of the scenario reaches the device in 5 us or more; here in 2 us or more
    quick = changed(build(tmp_path / "r.sqlite"), f"UPDATE {KERNEL} SET start = start - 3000")
    result = analyze(quick)
    assert (result.t_sys_ns, result.t_sys_source) == (2000, "paper")
    assert codes(result) == {"t_sys_assumed", "t_sys_lowered"}
    slow_null = build(tmp_path / "null.sqlite")
    by_null = analyze(quick, null_report=slow_null)
    assert (by_null.t_sys_ns, by_null.t_sys_source) == (2000, "null_report")
    assert "t_sys_lowered" in codes(by_null)
    for entry in result.entries:
        launched = entry.launches.kernel + entry.launches.graph
        assert entry.taxbreak.delta_kt_ns == launched * 2000


def test_a_given_floor_stays_and_is_warned_of(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite")
    assert codes(analyze(path, t_sys_ns=4000)) == set()
    high = analyze(path, t_sys_ns=20_000)
    assert high.t_sys_ns == 20_000
    assert codes(high) == {"t_sys_above_measured"}


def test_no_floor_of_a_report_at_hand_is_above_its_launches(any_report: Path) -> None:
    from taxbreak_nsys.arrays.intervals import percentile
    from taxbreak_nsys.model.launches import launch_latency

    result = analyze(any_report)
    launches = columns_of(result).launches
    measured = percentile(launch_latency(launches, launches.idle_stream), 1)
    assert measured is None or result.t_sys_ns <= measured
