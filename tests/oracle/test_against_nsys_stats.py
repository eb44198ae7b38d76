"""Kernel counts and times against NVIDIA's own `nsys stats` on the same report."""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from taxbreak_nsys import analyze
from taxbreak_nsys.model.range_names import range_label
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report

DOMAIN = re.compile(r"^\w*:(?!:)")
NSYS = shutil.which("nsys")
pytestmark = pytest.mark.skipif(NSYS is None, reason="no nsys on PATH to compare with")


def nsys_stats(report: Path, name: str, folder: Path) -> list[dict[str, str]]:
    copy = folder / report.name
    shutil.copyfile(report, copy)
    command = [str(NSYS), "stats", "--report", name, "--format", "csv", "--force-export=false", str(copy)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    start = next((i for i, line in enumerate(lines) if "Total Time (ns)" in line), None)
    if start is None:
        return []
    return list(csv.DictReader(lines[start:]))


def test_all_kernels_agree(any_report: Path, tmp_path: Path) -> None:
    theirs = nsys_stats(any_report, "cuda_gpu_kern_sum", tmp_path)
    assert theirs
    result = analyze(any_report)
    lone = [e for e in result.entries if not e.combined]
    assert sum(e.kernels for e in lone) + result.outside.kernels == sum(int(row["Instances"]) for row in theirs)
    if not any(e.launches.unmeasured_graph for e in lone):
        ours = sum(e.device.kernel_sum_ns or 0 for e in lone) + result.outside.kernel_sum_ns
        assert ours == sum(int(row["Total Time (ns)"]) for row in theirs)


@pytest.mark.parametrize(
    "name", ["llama-1b", "llama-1b-aten", "llama-1b-bare", "inject", "graph-node", "olmoe", "llama-3b-batch16", "multi"]
)
def test_kernels_by_phase_agree(report, name: str, tmp_path: Path) -> None:
    """Their range and ours must hold the same launches: labels here are whole range texts of the default domain."""
    path = report(name)
    theirs: Counter[tuple[str, int]] = Counter()
    counts: Counter[tuple[str, int]] = Counter()
    for row in nsys_stats(path, "nvtx_kern_sum", tmp_path):
        key = (row["NVTX Range"].removeprefix(":"), int(row["TID"]))
        theirs[key] += int(row["Total Time (ns)"])
        counts[key] += int(row["Kern Inst"])
    compared = 0
    for entry in analyze(path).entries:
        if entry.combined or entry.launches.unmeasured_graph:
            continue
        key = (entry.phase, entry.thread)
        if name == "multi" and key not in counts:
            continue  # a thread that only borrows another's ranges is in no range of its own
        assert entry.kernels == counts[key]
        assert entry.device.kernel_sum_ns == theirs[key]
        compared += 1
    assert compared


def nsys_rows(command: list[str], folder: Path, report: Path, head: str) -> list[dict[str, str]]:
    copy = folder / report.name
    shutil.copyfile(report, copy)
    lines = subprocess.run(
        [str(NSYS), *command, "--format", "csv", "--force-export=false", str(copy)],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    start = next((i for i, line in enumerate(lines) if head in line), None)
    return [] if start is None else list(csv.DictReader(lines[start:]))


@pytest.mark.parametrize("name", ["llama-1b-aten", "vllm-eager", "vllm-sampled", "olmoe", "inject"])
def test_gaps_agree_with_gpu_gaps(report, name: str, tmp_path: Path) -> None:
    """Every idle gap inside a phase instance is one of theirs, and every one of theirs there is ours.

    Theirs count nsys's own overhead as device work, ours do not: gaps at such a moment are left out of both.
    """
    path = report(name)
    theirs = {
        (int(row["Start (ns)"]), int(row["Duration (ns)"]))
        for row in nsys_rows(["analyze", "--rule", "gpu_gaps:gap=0:rows=-1"], tmp_path, path, "Duration (ns)")
    }
    result = analyze_report(path, Options(tables=frozenset({"gap_trace"})))
    instances, columns = result.instances, result.details.gap_trace
    assert columns is not None
    start, instance = columns["start_ns"], columns["instance"]
    end = start + columns["duration_ns"]
    # a gap that an instance's end cuts is shorter here than there
    inside = (start > instances.start[instance]) & (end < instances.end[instance])
    ours = set(zip(start[inside].tolist(), (end - start)[inside].tolist(), strict=True))
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        overheads = (
            database.execute("SELECT start, end FROM PROFILER_OVERHEAD").fetchall()
            if "PROFILER_OVERHEAD" in tables
            else []
        )

    def undisturbed(gaps: set[tuple[int, int]]) -> set[tuple[int, int]]:
        return {(s, d) for s, d in gaps if not any(low <= s + d and high >= s for low, high in overheads)}

    bounds = sorted(zip(instances.start.tolist(), instances.end.tolist(), strict=True))
    held = {
        (s, d)
        for s, d in theirs
        if any(low < s and s + d < high for low, high in bounds)
    }  # fmt: skip
    assert undisturbed(ours) == undisturbed(held)
    assert len(undisturbed(ours)) > 100


@pytest.mark.parametrize("name", ["llama-1b-aten", "inject", "vllm-eager", "olmoe"])
def test_launches_by_range_agree_with_the_projection(report, name: str, tmp_path: Path) -> None:
    """nvtx_gpu_proj_sum counts the launches inside each range text: ours by path, added up by text."""
    path = report(name)
    theirs: Counter[str] = Counter()
    for row in nsys_rows(["stats", "--report", "nvtx_gpu_proj_sum"], tmp_path, path, "Total GPU Ops"):
        theirs[range_label(DOMAIN.sub("", row["Range"].split(", op_id")[0]))] += int(row["Total GPU Ops"])
    result = analyze_report(path, Options(tables=frozenset({"ranges"})))
    ours: Counter[str] = Counter()
    for row in result.details.ranges or ():
        if row["depth"] and row["launches"]:
            ours[row["range"]] += row["launches"]
    assert {text: theirs[text] for text in ours} == dict(ours)
