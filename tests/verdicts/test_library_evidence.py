"""Library time is called exact only where it is: else a bound, or completed by samples (method section 4)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from tests.support.in_process import run
from tests.support.report_builder import VERSIONS, build

STATES_OF_FRAMEWORK = ("python", "dispatch", "runtime")


def changed(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


def warning(result: Result, code: str) -> str:
    return next((f"{w.message}; {w.remedy}" for w in result.report.warnings if w.code == code), "")


ONLY_NCCL = (
    "UPDATE NVTX_EVENTS SET text = 'NCCL' WHERE eventType = 75",
    "UPDATE StringIds SET value = 'ncclAllReduce' WHERE value = 'cublasGemmEx'",
)


def test_ranges_of_nccl_alone_are_a_lower_bound_where_cublas_launches(tmp_path: Path) -> None:
    exact = analyze(build(tmp_path / "exact.sqlite")).phase("decode").taxbreak
    assert (exact.evidence, exact.library_bound, exact.unmarked_libraries) == ("ranges", None, ())
    path = changed(build(tmp_path / "r.sqlite"), *ONLY_NCCL)
    result = analyze(path)
    layers = result.phase("decode").taxbreak
    assert (layers.evidence, layers.library_bound, layers.unmarked_libraries) == ("ranges", "lower", ("cuBLAS",))
    message = warning(result, "partial_library_ranges")
    assert "cuBLAS launched kernels in decode, prefill and marked no range (NCCL did)" in message
    assert "CUBLAS_NVTX_LEVEL" in message
    assert "cuDNN" not in message
    shown = " ".join(run(path).stdout.split())
    assert "a lower bound: cuBLAS launched kernels" in shown
    # what counts as framework time may be cuBLAS's: the verdict says so too, and not where cuBLAS marked
    assert result.phase("decode").verdict.target == "framework"
    assert "target not certain: cuBLAS launched kernels and marked no range" in result.phase("decode").verdict.why
    assert "not certain" not in analyze(tmp_path / "exact.sqlite").phase("decode").verdict.why
    assert "exact" not in shown


def test_a_range_says_its_library_where_a_fork_gave_the_domain_to_another(tmp_path: Path) -> None:
    """After a fork the child's domain 5 can be CCCL's by name while its ranges are cuBLAS's by their text."""
    path = changed(build(tmp_path / "r.sqlite"), "UPDATE NVTX_EVENTS SET text = 'CCCL' WHERE eventType = 75")
    result = analyze(path)
    layers = result.phase("decode").taxbreak
    assert (layers.evidence, layers.library_bound) == ("ranges", None)
    # doctor names what marked, not the domain alone
    assert "cuBLAS" in result.traced_ranges.libraries


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[3]], ids=["table", "ranges"])
def test_calls_of_the_cublas_table_mark_as_well(tmp_path: Path, version) -> None:
    assert analyze(build(tmp_path / "r.sqlite", version)).phase("decode").taxbreak.library_bound is None


def test_the_remedy_for_a_library_that_cannot_mark_is_samples(analysed) -> None:
    message = warning(analysed("llama-1b"), "partial_library_ranges")
    assert "cuDNN launched kernels" in message
    assert "--backtrace=fp" in message


@pytest.fixture
def partial(report, tmp_path: Path) -> Path:
    """The injection report with one cuBLAS range in ten, under another library's name."""
    path = tmp_path / "inject.sqlite"
    shutil.copy(report("inject"), path)
    os.chmod(path, 0o644)
    return changed(
        path,
        "DELETE FROM NVTX_EVENTS WHERE domainId = 1 AND eventType = 59 AND rowid % 10 > 0",
        "UPDATE NVTX_EVENTS SET textId = NULL, text = 'cub::DeviceReduce' WHERE domainId = 1 AND eventType = 59",
        "UPDATE NVTX_EVENTS SET text = 'CCCL' WHERE eventType = 75",
    )


@pytest.mark.parametrize("label", ["base", "framework", "library", "device"])
def test_samples_complete_partial_ranges(analysed, partial: Path, label: str) -> None:
    truth = analysed("inject").phase(label)
    entry = analyze(partial).phase(label)
    layers = entry.taxbreak
    assert (layers.evidence, layers.library_bound) == ("ranges+samples", None)
    # what libraries marked, and what samples find outside it
    outside = layers.delta_ct_ns - entry.states_ns["library"]
    assert outside == entry.samples.library_missed_ns
    framework = sum(entry.states_ns[state] for state in STATES_OF_FRAMEWORK)
    assert layers.delta_ft_ns == framework - outside
    # the full ranges hold the profiler's time as well, which is nobody's library time by samples
    own = truth.samples.profiler_by_state_ns["library"]
    low, high = layers.library_interval_ns
    assert low <= truth.taxbreak.delta_ct_ns
    assert high >= truth.taxbreak.delta_ct_ns - own - entry.states_ns["library"]
    # ranges alone would have missed most of it
    alone = analyze(partial, evidence="ranges").phase(label).taxbreak
    assert (alone.evidence, alone.library_bound) == ("ranges", "lower")
    assert alone.delta_ct_ns < layers.delta_ct_ns / 2


def test_hdbi_is_one_figure_for_all_evidence(partial: Path) -> None:
    """Ranges, ranges with samples and none share one T_Orchestration: only the split differs."""
    whole = {
        evidence: analyze(partial, evidence=evidence).phase("base").taxbreak
        for evidence in ("ranges", "ranges+samples", "none")
    }
    assert len({layers.t_orchestration_ns for layers in whole.values()}) == 1
    assert len({layers.hdbi for layers in whole.values()}) == 1
    # samples alone leave out time off the CPU, and nothing else: the profiler stays, and has its own figure
    entry = analyze(partial, evidence="samples").phase("base")
    off_cpu = sum(
        entry.samples.states[s].off_cpu_ns for s in (*STATES_OF_FRAMEWORK, "library") if s in entry.samples.states
    )
    assert entry.taxbreak.t_orchestration_ns + off_cpu == whole["none"].t_orchestration_ns
    assert entry.taxbreak.hdbi < entry.taxbreak.hdbi_without_profiler
    for layers in whole.values():
        assert layers.hdbi < layers.hdbi_without_profiler


def test_samples_that_find_a_library_outside_its_ranges_name_it(partial: Path) -> None:
    used = warning(analyze(partial), "library_outside_ranges")
    assert "cuBLAS" in used
    assert "delta_ct holds it" in used
    assert "cuDNN" not in used
    without = analyze(partial, evidence="ranges")
    forced = warning(without, "library_outside_ranges")
    assert "not certain" in forced
    assert "ranges+samples" in forced


@pytest.mark.parametrize("label", ["base", "framework", "blocked", "device", "library"])
def test_subtraction_is_an_upper_bound(report, analysed, tmp_path: Path, label: str) -> None:
    path = tmp_path / "inject.sqlite"
    shutil.copy(report("inject"), path)
    os.chmod(path, 0o644)
    changed(path, "DELETE FROM NVTX_EVENTS WHERE domainId = 1 AND eventType = 59")
    result = analyze(path, evidence="subtractive")
    layers = result.phase(label).taxbreak
    assert layers.library_bound == "upper"
    measured = analysed("inject").phase(label).taxbreak.delta_ct_ns
    low, high = layers.library_interval_ns
    assert low <= measured <= high == layers.delta_ct_ns
    assert "upper bound" in warning(result, "subtractive_estimate")
    assert "an upper bound" in " ".join(run(path, "--evidence", "subtractive").stdout.split())


def test_the_verdict_is_not_certain_where_samples_prove_library_time_outside_ranges(partial: Path) -> None:
    # every library that launches marks something, so no bound says it: the samples alone do
    changed(
        partial,
        "UPDATE NVTX_EVENTS SET text = 'cuBLAS' WHERE eventType = 75",
        "UPDATE NVTX_EVENTS SET text = 'cublasGemmEx' WHERE domainId = 1 AND eventType = 59",
    )
    result = analyze(partial, evidence="ranges")
    entry = result.phase("base")
    assert (entry.taxbreak.library_bound, entry.verdict.target) == (None, "framework")
    # nine ranges of ten are gone
    assert entry.samples.library_missed_interval_ns[0] > entry.taxbreak.delta_ct_ns / 2
    assert "target not certain: CPU samples find" in entry.verdict.why
    assert "cuBLAS" in entry.samples.library_missed_modules
    assert "cuBLAS" in entry.verdict.why
    # counted as the library's, they leave nothing open
    counted = analyze(partial, evidence="ranges+samples").phase("base")
    assert "not certain" not in counted.verdict.why
