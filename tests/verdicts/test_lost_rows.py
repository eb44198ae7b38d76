"""Where the importer lost CUDA rows, figures are null or of what is whole, never 0 (method section 5.1)."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.pipeline.analysis import analyze_report
from tests.support.in_process import run
from tests.support.report_builder import KERNEL, RUNTIME, build, thread_id

TWO_AND_TEN = ("prefill_0", "prefill_1", *(f"decode_{number}" for number in range(10)))
TEN = ("prefill", *(f"decode_{number}" for number in range(10)))


def cut(path: Path, *, after: int | None = None, before: int | None = None) -> Path:
    """Delete the CUDA rows that start after or before a moment (us); what else is traced stays."""
    condition = f"start >= {after * 1000}" if after is not None else f"start < {(before or 0) * 1000}"
    with sqlite3.connect(path) as database:
        for table in (RUNTIME, KERNEL):
            database.execute(f"DELETE FROM {table} WHERE {condition}")
    database.close()
    return path


def warning(result: Result) -> str | None:
    return next((w.message for w in result.report.warnings if w.code == "cuda_rows_lost"), None)


def same_per_step(result: Result, whole: Result, label: str) -> None:
    ours, theirs = result.phase(label), whole.phase(label)
    assert ours.taxbreak.hdbi == pytest.approx(theirs.taxbreak.hdbi)
    assert ours.wall_ns * theirs.instances == theirs.wall_ns * ours.instances
    assert ours.launches.kernel * theirs.instances == theirs.launches.kernel * ours.instances


def test_a_cut_tail_leaves_the_whole_steps_with_their_figures(tmp_path: Path) -> None:
    whole = analyze(build(tmp_path / "whole.sqlite", steps=TEN))
    # prefill begins at 1 ms, decode_0 at 2 ms; the rows end inside decode_5
    result = analyze(cut(build(tmp_path / "r.sqlite", steps=TEN), after=7020))
    decode = result.phase("decode")
    assert (decode.instances, decode.unmeasured_instances) == (5, 5)
    same_per_step(result, whole, "decode")
    ours, theirs = result.phase("prefill"), whole.phase("prefill")
    assert (ours.states_ns, ours.taxbreak, ours.device) == (theirs.states_ns, theirs.taxbreak, theirs.device)
    message = warning(result)
    assert message is not None
    assert "end at 7.025 ms" in message
    assert "5 instances" in message


def test_a_phase_that_lies_wholly_behind_the_last_row_is_null_with_the_reason(tmp_path: Path) -> None:
    path = cut(build(tmp_path / "r.sqlite", steps=TWO_AND_TEN), after=2095)
    result = analyze(path)
    decode = result.phase("decode")
    assert decode.kernels is None
    assert (decode.device.active_ns, decode.exposed_ns) == (None, None)
    layers = decode.taxbreak
    assert (layers.hdbi, layers.delta_ft_ns, layers.delta_kt_ns, layers.t_orchestration_ns) == (None,) * 4
    assert "end at 2.090 ms" in (layers.hdbi_reason or "")
    assert decode.verdict.target is None
    assert decode.unmeasured_instances == 10
    # the second prefill is the instance in which the rows end, the first is whole
    prefill = result.phase("prefill")
    assert (prefill.instances, prefill.unmeasured_instances) == (1, 1)
    assert prefill.taxbreak.hdbi is not None
    shown = run(path).stdout
    assert "Not measured: the CUDA rows of process 7264 end at" in " ".join(shown.split())
    assert "0 kernels" not in shown


def test_library_ranges_that_go_on_show_a_loss_within_one_long_range(tmp_path: Path) -> None:
    """The only mark is around the whole run: no instance follows, but cuBLAS is at work without a CUDA call."""
    path = build(tmp_path / "r.sqlite", steps=TEN)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM NVTX_EVENTS WHERE eventType = 59 AND text IS NOT NULL")
        database.execute(
            "INSERT INTO NVTX_EVENTS (start, end, eventType, globalTid, text, domainId) VALUES (?, ?, 59, ?, 'run', 0)",
            (900_000, 12_000_000, thread_id(0)),
        )
    database.close()
    assert analyze(path).phase("run").taxbreak.hdbi is not None
    run_phase = analyze(cut(path, after=7020)).phase("run")
    assert run_phase.taxbreak.hdbi is None
    assert "end at 7.025 ms" in (run_phase.taxbreak.hdbi_reason or "")


def test_the_doctor_says_missing(tmp_path: Path) -> None:
    path = cut(build(tmp_path / "r.sqlite", steps=TWO_AND_TEN), after=2095)
    done = run("doctor", path, "-f", "json")
    found = [f for f in json.loads(done.stdout)[str(path)] if f["subject"] in ("CUDA rows", "HDBI")]
    assert {(f["subject"], f["state"]) for f in found} == {
        ("CUDA rows", "missing"),
        ("HDBI", "missing"),
        ("HDBI", "ok"),
    }
    assert all(f["remedy"] for f in found if f["state"] == "missing")


def test_a_cut_beginning_is_left_out_as_well(tmp_path: Path) -> None:
    whole = analyze(build(tmp_path / "whole.sqlite", steps=TEN))
    result = analyze(cut(build(tmp_path / "r.sqlite", steps=TEN), before=4030))
    decode = result.phase("decode")
    # decode_0, decode_1 and decode_2, in which the rows begin
    assert (decode.instances, decode.unmeasured_instances) == (7, 3)
    same_per_step(result, whole, "decode")
    assert "begin at 4.035 ms" in (warning(result) or "")


def test_device_rows_alone_can_end(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite", steps=TEN)
    with sqlite3.connect(path) as database:
        database.execute(f"DELETE FROM {KERNEL} WHERE start > 8030000")
    database.close()
    result = analyze(path)
    assert (result.phase("decode").instances, result.phase("decode").unmeasured_instances) == (6, 4)
    assert "device rows of process 7264 end at 8.025 ms" in (warning(result) or "")
    same_per_step(result, analyze(build(tmp_path / "whole.sqlite", steps=TEN)), "decode")


def test_reading_in_windows_finds_the_same(tmp_path: Path) -> None:
    path = cut(build(tmp_path / "r.sqlite", steps=TEN), after=7020)
    assert analyze_report(path, window_rows=20).to_dict() == analyze_report(path).to_dict()


@pytest.mark.parametrize("where", ["after", "between"])
def test_a_phase_without_cuda_is_no_loss(tmp_path: Path, where: str) -> None:
    """One CPU-only step at the end may be the program's; a phase that has some in between has none by its nature."""
    path = build(tmp_path / "r.sqlite", steps=TEN)
    # the last kernel ends at 11.060 ms
    starts = [13_000] if where == "after" else [5_500, 13_000, 14_000]
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO NVTX_EVENTS (start, end, eventType, globalTid, text, domainId) VALUES (?, ?, 59, ?, ?, 0)",
            [(us * 1000, us * 1000 + 100_000, thread_id(0), "detokenize") for us in starts],
        )
    database.close()
    result = analyze(path)
    assert warning(result) is None
    assert result.phase("detokenize").taxbreak.hdbi_reason == "no kernel or graph launch in the phase"
    assert result.phase("detokenize").kernels == 0


def test_no_report_at_hand_is_called_cut(any_report: Path) -> None:
    assert warning(analyze(any_report)) is None


def test_samples_show_launches_that_the_rows_lack(report, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    shutil.copy(report("llama-1b-sampled"), path)
    os.chmod(path, 0o644)
    instances = analyze(path).instances
    # most of the CUDA rows of the third decode step are gone, its samples are not
    start, end = int(instances.start[3]), int(instances.end[3])
    keep = start + (end - start) // 5
    with sqlite3.connect(path) as database:
        for table in (RUNTIME, KERNEL):
            database.execute(f"DELETE FROM {table} WHERE start > {keep} AND start < {end}")
    database.close()
    result = analyze(path)
    assert (result.phase("decode").instances, result.phase("decode").unmeasured_instances) == (7, 1)
    assert "samples show the CUDA driver at work in decode" in (warning(result) or "")
