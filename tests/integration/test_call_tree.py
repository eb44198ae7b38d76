"""The host's call tree from CPU samples: its sums, its folding, and the files for flame graph viewers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from taxbreak_nsys import Result
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report
from tests.support.in_process import run

SAMPLED = ("llama-1b-sampled", "vllm-sampled")
TREE = Options(tables=frozenset({"call_tree"}))


def tree(path: Path, **options: int) -> Result:
    return analyze_report(path, TREE, **options)


@pytest.mark.parametrize("name", SAMPLED)
def test_tree_adds_up_to_the_samples(report, name: str) -> None:
    result = tree(report(name))
    for entry in result.entries:
        key = (entry.phase, entry.process, entry.thread)
        rows = [r for r in result.details.call_tree or () if (r["phase"], r["process"], r["thread"]) == key]
        folded = [r for r in result.details.calls or () if (r["phase"], r["process"], r["thread"]) == key]
        flat = [r for r in result.sample_rows if (r["phase"], r["process"], r["thread"]) == key]
        for figure in ("ns", "samples", "exposed_ns", "exposed_samples"):
            own = sum(r[f"self_{figure}"] for r in rows)
            whole = "total_ns" if figure == "ns" else figure
            assert own == sum(r[whole] for r in rows if r["parent"] is None)
            assert own == sum(r[f"self_{figure}"] for r in folded)
        assert sum(r["self_ns"] for r in rows) == sum(r["total_ns"] for r in flat)
        assert sum(r["self_samples"] for r in rows) == sum(r["samples"] for r in flat)
        by_layer = Counter[str]()
        for r in flat:
            by_layer[r["layer"]] += r["total_ns"]
        for r in rows:
            by_layer[r["layer"]] -= r["self_ns"]
            callees = [c for c in rows if c["parent"] == r["row"]] if r["depth"] == 1 else []
            if callees:
                assert r["total_ns"] == r["self_ns"] + sum(c["total_ns"] for c in callees)
        assert not any(by_layer.values())


@pytest.mark.parametrize("name", SAMPLED)
def test_windows_make_the_same_tree(report, name: str) -> None:
    assert tree(report(name), window_rows=2000).details.call_tree == tree(report(name)).details.call_tree


def test_folding_and_depth(report) -> None:
    path = report("llama-1b-sampled")
    whole = tree(path).details
    assert whole.calls is not None
    assert whole.call_tree is not None
    assert len(whole.calls) < len(whole.call_tree)
    callees = Counter((r["phase"], r["parent"]) for r in whole.call_tree)
    assert all(r["self_samples"] or callees[r["phase"], r["row"]] != 1 for r in whole.calls)
    cut = analyze_report(path, Options(tables=frozenset({"call_tree"}), tree_depth=3)).details.calls
    assert cut is not None
    assert max(r["depth"] for r in cut) == 3
    assert sum(r["self_ns"] for r in cut) == sum(r["self_ns"] for r in whole.calls)


def test_speedscope_file(report, tmp_path: Path) -> None:
    """The file keeps the rules of speedscope's schema: frames by number, a weight for each sample."""
    target = tmp_path / "decode.speedscope.json"
    done = run(report("llama-1b-sampled"), "-r", "taxbreak_call_sum", "-f", "speedscope", "-o", target)
    assert done.returncode == 0, done.stderr
    data = json.loads(target.read_text())
    result = tree(report("llama-1b-sampled"))
    assert data["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = data["shared"]["frames"]
    assert all(set(frame) <= {"name", "file"} and frame["name"] for frame in frames)
    on_cpu = Counter[str]()
    for row in result.sample_rows:
        on_cpu[f"{row['phase']} ({row['process']}/{row['thread']})"] += row["total_ns"]
    for profile in data["profiles"]:
        assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "nanoseconds", 0)
        assert len(profile["samples"]) == len(profile["weights"])
        assert sum(profile["weights"]) == profile["endValue"]
        assert all(0 <= frame < len(frames) for stack in profile["samples"] for frame in stack)
        name = profile["name"].removesuffix(", exposed")
        assert profile["endValue"] == on_cpu[name] if name == profile["name"] else profile["endValue"] <= on_cpu[name]
    assert {profile["name"] for profile in data["profiles"]} >= set(on_cpu)


def test_collapsed_stacks(report) -> None:
    done = run(report("vllm-sampled"), "-r", "taxbreak_call_sum", "-f", "collapsed")
    assert done.returncode == 0, done.stderr
    times = Counter[str]()
    for line in done.stdout.splitlines():
        stack, ns = line.rsplit(" ", 1)
        times[stack.split(";")[0]] += int(ns)
        assert stack.split(";")[1] in ("framework", "library", "launch path", "profiler", "memop", "runtime") or (
            len(stack.split(";")) > 2
        )
    result = tree(report("vllm-sampled"))
    expected = Counter[str]()
    for row in result.sample_rows:
        expected[row["phase"]] += row["total_ns"]
    assert times == expected


def test_flame_graphs_are_of_the_call_tree_alone(report) -> None:
    done = run(report("vllm-sampled"), "-r", "taxbreak_gap_sum", "-f", "speedscope")
    assert done.returncode == 2
    assert "add -r taxbreak_call_sum" in done.stderr
    without = run(report("llama-1b"), "-r", "taxbreak_call_sum")
    assert without.returncode == 0
    assert "no CPU samples with call chains" in " ".join(without.stdout.split())
