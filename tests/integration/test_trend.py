"""Trends: the series of a store, and the changes of level in it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.output.sparkline import sparkline
from taxbreak_nsys.store.metric_history import MetricPoint, Series, captured_moment, change_points, trends
from taxbreak_nsys.store.records import Analysed
from taxbreak_nsys.store.store_opening import open_store
from taxbreak_nsys.store.writer import write_analysed
from tests.support.reports import find_report

pytest.importorskip("ruptures", reason="change points need the extra: pip install 'taxbreak-nsys[trend]'")


def noisy(levels: list[tuple[float, int]], noise: float, seed: int) -> list[float]:
    random = np.random.default_rng(seed)
    values: list[float] = []
    for level, count in levels:
        values += (level + noise * random.standard_normal(count)).tolist()
    return values


@pytest.mark.parametrize("seed", range(20))
def test_a_change_of_level_is_found_where_it_is(seed: int) -> None:
    # five times the noise: as clear as a regression that somebody would look for
    assert change_points(noisy([(0.3, 20), (0.2, 20)], 0.02, seed)) == (20,)
    assert change_points(noisy([(5e9, 15), (9e9, 15), (5e9, 10)], 0.2e9, seed)) == (15, 30)


def test_noise_alone_is_seldom_a_change() -> None:
    false = sum(bool(change_points(noisy([(0.3, 40)], 0.02, seed))) for seed in range(300))
    assert false <= 15


def test_nothing_changes_in_what_stays_or_is_short() -> None:
    assert change_points([0.5] * 50) == ()
    assert change_points([0.1, 0.9]) == ()
    assert change_points([]) == ()
    assert change_points([None] * 20) == ()


def test_what_was_not_measured_is_passed_over() -> None:
    values: list[float | None] = [0.1] * 10 + [None] + [0.9] * 10
    assert change_points(values) == (11,)


def test_a_level_is_three_reports_long() -> None:
    values = noisy([(0.3, 40)], 0.01, 1)
    values[20] = 0.9
    assert all(end - start >= 3 for start, end in pairwise([0, *(change_points(values) or ()), 40]))


def test_sparkline() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, None, 2], plain=True) == "_ #"
    assert sparkline([1, 1, 5, 5], [2]) == "▁▁|██"
    assert sparkline([]) == ""
    assert sparkline([None, None]) == "  "
    assert sparkline([3, 3]) == "▅▅"
    assert len(sparkline(list(range(1000)), width=50)) == 50


def test_moment_is_the_tag_else_the_capture() -> None:
    captured = datetime(2026, 1, 31, 4, 5, 6)
    assert captured_moment(None, captured) == captured
    assert captured_moment("20260131", captured) == captured
    assert captured_moment("2026-02-01", captured) == datetime(2026, 2, 1)
    assert captured_moment("2026-02-01T03:00:00+01:00", captured) == datetime(2026, 2, 1, 2)
    assert captured_moment("yesterday", captured) == captured
    assert captured_moment(None, None) is None


def filled(url: str) -> dict[str, Any]:
    """Two models over 24 days: the decode of `a` gets slower on the 13th, that of `b` stays."""
    result = analyze(find_report("llama-1b")).to_dict()
    decode = next(entry for entry in result["phases"] if entry["phase"] == "decode")
    noise = np.random.default_rng(7)
    with open_store(url, write=True) as store:
        for day in range(1, 25):
            for model in "ab":
                entry = decode | {"wall_ns": 100_000_000 + int(noise.normal(0, 2_000_000))}
                if model == "a" and day >= 13:
                    entry["wall_ns"] += 30_000_000
                changed = result | {"phases": [entry], "kernels": []}
                tags = {"model": model, "date": f"202601{day:02}"}
                write_analysed(store, Analysed(f"/{model}/{day}", tags, f"{day:064}", 1, changed, 1), "{}")
    return decode


def test_series_by_tag(store_url: str) -> None:
    decode = filled(store_url)
    with open_store(store_url) as store:
        series, undated = trends(store, "wall_ns", "decode", ["model"])
        assert undated == 0
        assert [one.by for one in series] == [("a",), ("b",)]
        assert [one.changes for one in series] == [(12,), ()]
        assert [point.moment.day for point in series[0].points] == list(range(1, 25))
        (step, _), _ = trends(store, "delta_ft_ns_per_step", "decode", ["model"])
        assert set(step.values) == {decode["taxbreak"]["delta_ft_ns"] / decode["instances"]}
        (gpu,), _ = trends(store, "hdbi", None, ["gpu"])
        assert gpu.by == ("NVIDIA H100 80GB HBM3",)
        with pytest.raises(TaxbreakError, match="--metric"):
            trends(store, "path", None, [])


def test_command(tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    filled(url)

    def trend(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "taxbreak_nsys", "trend", "--store", url, *args]
        return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")

    shown = trend("--metric", "wall_ns", "--by", "model", "--phase", "decode")
    assert shown.returncode == 0, shown.stderr
    assert "since 2026-01-13 to 2026-01-24" in shown.stdout
    rows = json.loads(trend("--metric", "wall_ns", "--by", "model", "-f", "json").stdout)
    assert len(rows) == 48
    assert [(row["model"], row["time"][:10]) for row in rows if row["change"]] == [("a", "2026-01-13")]
    assert trend("--by", "colour").stderr.count("\n") == 1
    assert trend("--by", "colour").returncode == 2
    assert "no such store" in trend("--store", str(tmp_path / "none")).stderr


def test_reports_of_one_day_are_told_apart_by_the_time() -> None:
    from taxbreak_nsys.cli.trend import _drawn

    def drawn(*moments: datetime) -> str:
        points = tuple(MetricPoint(moment, "/x", 0.5) for moment in moments)
        return _drawn([Series("decode", (), points, ())], "hdbi", [])

    day = datetime(2026, 1, 1)
    assert "from  2026-01-01 to 2026-01-02:" in drawn(day, day + timedelta(days=1))
    assert "from  2026-01-01 00:00 to 2026-01-01 13:05:" in drawn(day, day + timedelta(hours=13, minutes=5))
