"""Where the tests find reports: the samples, and more of them where TAXBREAK_REPORTS names a folder."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.pipeline.analysis import measure_report

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_reports"
MORE = Path(os.environ["TAXBREAK_REPORTS"]) if os.environ.get("TAXBREAK_REPORTS") else None

KNOWN = (
    "gpt2-backtrace",
    "gpt2-nophase",
    "graph-graph",
    "graph-node",
    "inject",
    "jax",
    "llama-1b",
    "llama-1b-aten",
    "llama-1b-bare",
    "llama-1b-sampled",
    "llama-3b-batch16",
    "multi",
    "null-kernel",
    "olmoe",
    "public-2gpu-training",
    "vllm-eager",
    "vllm-graph",
    "vllm-mixed",
    "vllm-olmoe-eager",
    "vllm-sampled",
    "vllm-tp2",
)


def find_report(name: str) -> Path:
    """Return the path of a report by name, or skip the test and say why."""
    for folder in (SAMPLES, MORE):
        if folder and (folder / f"{name}.sqlite").is_file():
            return folder / f"{name}.sqlite"
    pytest.skip(f"{name}.sqlite is not among the sample reports; name a folder that has it in TAXBREAK_REPORTS")


@cache
def analysed_once(path: Path) -> Result:
    """Return the result of a report with default options, analysed once per session."""
    return analyze(path)


@cache
def measured_once(path: Path) -> Measured:
    """Return the columns behind a report's result (intervals, launches, operations), measured once per session."""
    return measure_report(path)[1]


def columns_of(result: Result) -> Measured:
    """Return the columns behind a result that was analysed with default options."""
    return measured_once(Path(result.report.path))
