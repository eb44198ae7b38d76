"""The validation's own arithmetic: what it takes from a report, and that the document is what its data give."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_report import PROCESS, TinyReport

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from validating import extract  # noqa: E402

THREAD = PROCESS | 77
BASE = {"spin": 100, "nap": 50, "before": 20, "inside": 30, "asleep": 10}


def injected_report(path: Path, steps: list[tuple[str, dict[str, int]]], slower: int = 0) -> tuple[Path, dict]:
    """Write a report whose steps are given extra ns; every step is `slower` ns slower than the one before."""
    report, rows = TinyReport(), []
    report.ranges.append((0, None, 75, "cuBLAS", THREAD, 1, None))
    for number, (label, extra) in enumerate(steps):
        begun = report.now
        report.now += 5_000 + extra.get("spin", 0) + extra.get("before", 0) + number * slower
        library = report.now
        report.now += 3_000 + extra.get("inside", 0)
        report.kernel("gemm")
        report.ranges.append((library, report.now, 59, "cublasGemmEx", THREAD, 1, None))
        report.mark(label, begun, report.now)
        report.now += 1_000
        rows.append([label, *(BASE[column] + extra.get(column, 0) for column in BASE), 1])
    truth = {"products": 1, "columns": ["label", *BASE, "calls"], "steps": rows}
    path.with_suffix(".truth.json").write_text(json.dumps(truth))
    return report.write(path), truth


def test_injected_steps_are_compared_with_the_base_around_them(tmp_path: Path) -> None:
    steps: list[tuple[str, dict[str, int]]] = [("base (1)", {})]
    for kind, column in (("framework", "spin"), ("library", "inside"), ("native", "before")):
        steps += [(f"{kind} 10 us (1)", {column: 10_000}), ("base (1)", {})]
    report, _ = injected_report(tmp_path / "inject.sqlite", steps, slower=40)
    pairs = extract.record_of(report, None)["injected"]["pairs"]
    assert {name: (entry["added"], entry["framework"], entry["library"]) for name, entry in pairs.items()} == {
        "framework 10 us": ([10_000], [10_000], [0]),
        "library 10 us": ([10_000], [0], [10_000]),
        "native 10 us": ([10_000], [10_000], [0]),
    }


def test_a_cost_inside_a_phase_is_compared_with_the_one_outside(tmp_path: Path) -> None:
    steps = [
        (f"framework 10 us {place}", {"spin": ns})
        for place, ns in (("outside", 0), ("inside", 10_000), ("outside", 0), ("inside", 10_500))
    ]
    report, _ = injected_report(tmp_path / "inject.sqlite", steps)
    apart = extract.record_of(report, None)["injected"]["apart"]["framework 10 us"]
    assert (apart["added"], apart["framework"], apart["library"]) == ([10_000, 10_500], [10_000, 10_500], [0, 0])


def test_a_report_that_lost_steps_is_refused(tmp_path: Path) -> None:
    report, truth = injected_report(tmp_path / "inject.sqlite", [("base (1)", {}), ("base (1)", {})])
    truth["steps"].pop()
    report.with_suffix(".truth.json").write_text(json.dumps(truth))
    with pytest.raises(ValueError, match="2 steps in the report, 1 in"):
        extract.record_of(report, None)


def test_what_a_bare_run_was_given(tmp_path: Path) -> None:
    rows = [["base (1)", 200, 0, 0, 0, 2], ["framework 10 us (1)", 20_400, 0, 0, 0, 2], ["base (2)", 400, 0, 0, 0, 2]]
    truth = {"products": 2, "columns": ["label", "spin", "nap", "before", "inside", "calls"], "steps": rows}
    assert extract.bare_added(truth) == {"framework 10 us": 20_400 / 2 - (100 + 200) / 2}


def test_lists_of_numbers_stand_on_one_line() -> None:
    record = {"a": [1, -2, 3.5], "b": {"c": [], "d": ["1, 2"]}, "e": None}
    text = extract.as_text(record)
    assert json.loads(text) == record
    assert '"a": [1,-2,3.5]' in text
