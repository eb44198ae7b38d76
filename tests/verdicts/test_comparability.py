"""Captures that `diff` calls not comparable are not judged against each other."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from taxbreak_nsys import analyze
from taxbreak_nsys.comparison.comparability import LEAST_COMMON, capture_conditions, common_kernel_share, not_comparable
from taxbreak_nsys.store.metric_history import MetricPoint, breaks
from tests.support.in_process import Done, run
from tests.support.report_builder import KERNEL, build

RULE = "decode.wall_ns_per_step <= 1.1 * baseline"


def changed(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


def gate(report: Path, baseline: Path, *more: str) -> Done:
    return run("gate", report, "--rule", RULE, "--baseline", baseline, "-f", "json", *more)


OTHER_GPU = "UPDATE TARGET_INFO_GPU SET name = 'NVIDIA H200'"
OTHER_TRACE = "INSERT INTO META_DATA_CAPTURE VALUES ('CAPTURE_EVENT_TYPE', 'OSRuntime')"
OTHER_KERNELS = "UPDATE StringIds SET value = 'other_' || value WHERE value LIKE '%kernel' OR value LIKE 'sgemm%'"
TRACED = (
    "CREATE TABLE META_DATA_CAPTURE (name TEXT, value TEXT)",
    "INSERT INTO META_DATA_CAPTURE VALUES ('CAPTURE_EVENT_TYPE', 'Cuda')",
)


@pytest.mark.parametrize("kind", ["report", "json"])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (OTHER_GPU, "GPU NVIDIA H100 80GB HBM3 against NVIDIA H200"),
        (OTHER_TRACE, "traced cuda against cuda+osrt"),
        (OTHER_KERNELS, "different kernels: common kernels take 0% of the device time"),
    ],
)
def test_a_baseline_that_is_not_comparable_is_not_judged(tmp_path: Path, statement: str, said: str, kind: str) -> None:
    before = changed(build(tmp_path / "before.sqlite"), *TRACED)
    after = changed(build(tmp_path / "after.sqlite"), *TRACED, statement)
    baseline = before
    if kind == "json":
        baseline = tmp_path / "before.json"
        baseline.write_text(analyze(before).to_json())
    done = gate(after, baseline)
    assert done.returncode == 2
    (judged,) = json.loads(done.stdout)["rules"]
    assert judged["verdict"] == "not judged"
    assert said in judged["reason"]
    assert "--allow-different" in judged["reason"]
    allowed = gate(after, baseline, "--allow-different")
    assert allowed.returncode == 0
    assert said in allowed.stderr
    # a rule that names no baseline is judged as ever
    assert run("gate", after, "--rule", "decode.hdbi >= 0.1", "--baseline", baseline).returncode == 0


def test_the_same_program_is_judged(tmp_path: Path) -> None:
    before = changed(build(tmp_path / "before.sqlite"), *TRACED)
    slower = dict.fromkeys(("decode_0", "decode_1", "decode_2"), 50)
    after = changed(build(tmp_path / "after.sqlite", longer=slower), *TRACED)
    assert gate(before, before).returncode == 0
    assert gate(after, before).returncode == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("llama-1b", "llama-1b-bare", True),
        ("vllm-eager", "vllm-graph", True),
        ("llama-1b", "olmoe", False),
        ("vllm-eager", "vllm-olmoe-eager", False),
        ("llama-1b", "llama-3b-batch16", False),
    ],
)
def test_one_model_is_known_by_its_kernels(report, one: str, other: str, same: bool) -> None:
    sides = [capture_conditions(analyze(report(name)).to_dict()) for name in (one, other)]
    share = common_kernel_share(*sides)
    assert share is not None
    assert (share >= LEAST_COMMON) == same
    assert any("different kernels" in text for text in not_comparable(*sides)) != same


def test_what_a_side_does_not_say_is_no_difference(tmp_path: Path) -> None:
    known = capture_conditions(analyze(build(tmp_path / "r.sqlite")).to_dict())
    silent = capture_conditions({"phases": []})
    assert not_comparable(known, silent) == not_comparable(silent, known) == []


def test_a_trend_marks_where_captures_stop_being_comparable() -> None:
    def point(day: int, gpu: str | None, traced: str) -> MetricPoint:
        moment = datetime(2026, 1, 1) + timedelta(days=day)
        return MetricPoint(moment, f"{day}.sqlite", 0.3, (gpu, "Xeon", "2024.2", traced, None))

    points = [
        point(0, "H100", "cuda"), point(1, "H100", "cuda"), point(2, None, "cuda"), point(3, "H200", "cuda"),
        point(4, "H100", "cuda"), point(5, "H100", "cuda,osrt"),
    ]  # fmt: skip
    # day 2 does not say its GPU: it stands for the H100 before it
    assert breaks(points) == {
        3: "GPU H100 against H200",
        4: "GPU H200 against H100",
        5: "traced cuda against cuda,osrt",
    }


def test_the_trend_command_sets_other_gpus_apart(tmp_path: Path) -> None:
    pytest.importorskip("ruptures", reason="change points need the extra: pip install 'taxbreak-nsys[trend]'")
    store = tmp_path / "taxbreak.db"
    for day in range(8):
        path = build(tmp_path / f"{day}.sqlite")
        if day >= 4:
            changed(path, OTHER_GPU, f"UPDATE {KERNEL} SET end = end + 3000")
        assert run("batch", path, "--store", store, "--tag", f"date=2026-01-0{day + 1}", "-q").returncode == 0
    shown = run("trend", "--store", store, "--phase", "decode").stdout
    assert "not comparable with earlier reports: GPU NVIDIA H100 80GB HBM3 against NVIDIA H200" in shown
    rows = json.loads(run("trend", "--store", store, "--phase", "decode", "-f", "json", "-q").stdout)
    rows = rows if isinstance(rows, list) else rows["rows"]
    # the figure moved with the GPU: that is no change of the program
    assert [row["change"] for row in rows] == [False] * 8
    assert [bool(row["not comparable"]) for row in rows] == [day == 4 for day in range(8)]
