"""Phases where nobody marked them: on real reports with their marks ignored, and on small ones with known steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys import Result, TaxbreakError, analyze
from tests.support.reports import columns_of
from tests.support.tiny_report import PROCESS, TinyReport

WORDS = ("prefill", "decode")

MARKED = {
    "llama-1b": None,
    "llama-1b-aten": None,
    "llama-1b-bare": None,
    "llama-1b-sampled": None,
    "olmoe": None,
    "llama-3b-batch16": None,
    "gpt2-backtrace": None,
    "graph-node": {"decode_eager": "decode", "decode_graph": "decode_graph"},
    # the graph's kernels are not in the report: nothing says what its steps are
    "graph-graph": {"decode_eager": "decode", "decode_graph": "step"},
}


@pytest.mark.parametrize("name", MARKED)
def test_steps_are_those_that_were_marked(report, name: str) -> None:
    marked, found = analyze(report(name)), analyze(report(name), phase_source="auto")
    steps, true = found.instances, marked.instances
    assert len(steps) == len(true)
    launches = columns_of(marked).launches
    for edge, wanted in ((steps.start, true.start), (steps.end, true.end)):
        off = np.searchsorted(launches.start, edge) - np.searchsorted(launches.start, wanted)
        assert np.abs(off).max() <= 1
    names = MARKED[name] or {"prefill": "prefill", "decode": "decode"}
    assert [steps.labels[code] for code in steps.label] == [names[true.labels[code]] for code in true.label]
    assert all(entry.phase_source.kind == "auto" for entry in found.entries)


def test_prefill_and_decode_of_a_report_without_marks(report) -> None:
    result = analyze(report("gpt2-nophase"))
    assert [(entry.phase, entry.instances) for entry in result.entries] == [("prefill", 1), ("decode", 12)]
    assert result.outside.kernels == 0
    for entry in result.entries:
        assert entry.kernels == 248 * entry.instances
        assert entry.phase_source.kind == "auto"
        assert entry.phase_source.evidence
        assert sum(entry.states_ns.values()) == entry.wall_ns
    assert "phases_found" in {warning.code for warning in result.report.warnings}


@pytest.mark.parametrize("name", ["inject", "null-kernel", "multi", "public-2gpu-training"])
def test_nothing_is_invented(report, name: str) -> None:
    result = analyze(report(name), phase_source="auto")
    assert {entry.phase for entry in result.entries} <= {"all", "step", "training_step"}
    if name != "inject":
        assert {entry.phase_source.kind for entry in result.entries} == {"all"}
        assert "no_phases" in {warning.code for warning in result.report.warnings}


def test_states_add_up_in_steps_that_were_found(any_report: Path) -> None:
    result = analyze(any_report, phase_source="auto")
    for entry in result.entries:
        assert sum(entry.states_ns.values()) == entry.wall_ns
        assert 0 <= (entry.phase_source.confidence or 0) <= 1
    instances = result.instances
    assert np.all(instances.end > instances.start)
    same = instances.thread[1:] == instances.thread[:-1]
    assert np.all(instances.start[1:][same] >= instances.end[:-1][same])


def test_a_choice_can_keep_the_single_phase(report) -> None:
    for source in ("all", "marks"):
        result = analyze(report("gpt2-nophase"), phase_source=source)
        assert [(entry.phase, entry.instances) for entry in result.entries] == [("all", 1)]
    assert {entry.phase for entry in analyze(report("llama-1b"), phase_source="all").entries} == {"all"}
    with pytest.raises(TaxbreakError, match="phase_source"):
        analyze(report("llama-1b"), phase_source="guess")


LAYERS = 4


def a_pass(report: TinyReport, tokens: int, *, attention: str = "flash_fwd_kernel", batch: int = 1) -> None:
    """One forward pass of a small model, as HF's eager mode launches it, that ends by reading the token back."""
    report.kernel("embedding_kernel", tokens)
    for _ in range(LAYERS):
        report.kernel("rms_norm_kernel", tokens)
        report.kernel("gemv_kernel" if tokens == 1 else "sm90_gemm_128x128", 64)
        report.kernel(attention, 8)
        report.kernel("sm90_gemm_out", 64)
        report.kernel("silu_kernel", 4 * tokens)
    report.kernel("lm_head_gemm", 32)
    report.kernel("argmax_kernel", batch)
    report.read_back(8 * batch)


def phases_of(report: TinyReport, path: Path) -> list[tuple[str, int]]:
    return [(entry.phase, entry.instances) for entry in steps_of(report, path).entries]


def steps_of(report: TinyReport, path: Path) -> Result:
    return analyze(report.write(path))


def test_requests_one_after_another(tmp_path: Path) -> None:
    # a request is a repetition too, and so is a layer: neither is the step
    report = TinyReport()
    for _ in range(3):
        a_pass(report, 40)
        for _ in range(5):
            a_pass(report, 1)
        report.call("cudaDeviceSynchronize")
    assert phases_of(report, tmp_path / "a.sqlite") == [("prefill", 3), ("decode", 15)]


def test_one_step_alone_is_no_repetition(tmp_path: Path) -> None:
    report = TinyReport()
    a_pass(report, 1)
    assert phases_of(report, tmp_path / "a.sqlite") == [("all", 1)]


def test_a_capture_that_begins_in_a_step(tmp_path: Path) -> None:
    whole = TinyReport()
    for _ in range(4):
        a_pass(whole, 1)
    cut = whole.api[12][0]
    for rows in (whole.api, whole.kernels):
        rows[:] = [row for row in rows if row[0] >= cut]
    result = steps_of(whole, tmp_path / "a.sqlite")
    assert [(entry.phase, entry.instances) for entry in result.entries] == [("decode", 3)]
    assert result.outside.kernels > 0


def test_a_step_that_the_capture_cuts_off_at_its_end(tmp_path: Path) -> None:
    report = TinyReport()
    for _ in range(4):
        a_pass(report, 1)
    for name in ("embedding_kernel", "rms_norm_kernel", "gemv_kernel"):
        report.kernel(name)
    result = steps_of(report, tmp_path / "a.sqlite")
    assert [(entry.phase, entry.instances) for entry in result.entries] == [("decode", 4)]
    assert result.outside.kernels == 3


def test_a_larger_batch_is_not_a_prefill(tmp_path: Path) -> None:
    report = TinyReport()
    for batch in (1, 1, 1, 8, 8, 8):
        a_pass(report, batch, batch=batch)
    assert phases_of(report, tmp_path / "a.sqlite") == [("decode", 6)]


def test_passes_of_one_size_alone_are_steps_without_a_name(tmp_path: Path) -> None:
    # an encoder, or a benchmark of prefill: nothing says which
    report = TinyReport()
    for _ in range(5):
        a_pass(report, 512)
    assert phases_of(report, tmp_path / "a.sqlite") == [("step", 5)]


def test_without_attention_kernels_nothing_is_prefill_or_decode(tmp_path: Path) -> None:
    report = TinyReport()
    for tokens in (64, 1, 1, 1, 64, 1, 1):
        a_pass(report, tokens, attention="some_kernel")
    assert {phase for phase, _ in phases_of(report, tmp_path / "a.sqlite")} <= {"step", "all"}


def test_training_is_neither(tmp_path: Path) -> None:
    report = TinyReport()
    for _ in range(4):
        for name in ("flash_fwd_kernel", "gemm", "flash_fwd_kernel", "flash_bwd_kernel", "gemm", "flash_bwd_kernel"):
            report.kernel(name, 64)
        report.kernel("multi_tensor_apply_kernel_adam", 100)
        report.read_back(4)
    assert phases_of(report, tmp_path / "a.sqlite") == [("training_step", 4)]


def test_two_models_in_one_process_on_their_own_threads(tmp_path: Path) -> None:
    report = TinyReport()
    other = PROCESS | 99
    for _ in range(4):
        a_pass(report, 1)
        for _ in range(6):
            report.kernel("flash_other", 1, thread=other)
        report.read_back(8, thread=other)
    result = steps_of(report, tmp_path / "a.sqlite")
    assert result.phase("decode", thread=77).instances == 4
    assert {(entry.phase, entry.instances) for entry in result.entries if entry.thread == 99} == {("step", 4)}


def test_two_models_in_turn_on_one_thread_are_not_one(tmp_path: Path) -> None:
    # a draft model and the one it drafts for: passes of different depth
    report = TinyReport()
    for _ in range(4):
        a_pass(report, 1)
        for name in ("flash_draft", "gemv", "flash_draft"):
            report.kernel(name)
        report.read_back(8)
    found = phases_of(report, tmp_path / "a.sqlite")
    assert sum(number for _, number in found) <= 4


def test_graph_launches_are_steps(tmp_path: Path) -> None:
    names = ["rms_norm_kernel", "gemv_kernel", "paged_attention_v1", "gemv_kernel"] * LAYERS
    report = TinyReport()
    for _ in range(6):
        report.graph(names)
        report.kernel("argmax_kernel")
        report.read_back()
    assert phases_of(report, tmp_path / "a.sqlite") == [("decode", 6)]


def test_steps_without_a_wait(tmp_path: Path) -> None:
    report = TinyReport()
    for _ in range(6):
        a_pass(report, 1)
    report.copies.clear()
    report.api[:] = [row for row in report.api if row[5] not in (report.text("cudaStreamSynchronize_v3020"),)]
    result = steps_of(report, tmp_path / "a.sqlite")
    assert [entry.phase for entry in result.entries] == ["decode"]
    assert result.entries[0].instances >= 5
    assert "no wait" in (result.entries[0].phase_source.evidence or "")


def test_grids_that_the_report_lacks(tmp_path: Path) -> None:
    report = TinyReport()
    for tokens in (64, 1, 1, 1):
        a_pass(report, tokens)
    report.kernels[:] = [(*row[:9], None, None, None, row[12]) for row in report.kernels]
    assert {phase for phase, _ in phases_of(report, tmp_path / "a.sqlite")} <= {"step", "all"}
