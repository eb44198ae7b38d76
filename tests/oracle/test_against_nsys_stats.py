"""Kernel counts and times against NVIDIA's own `nsys stats` on the same report."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from taxbreak_nsys import analyze

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
