"""Padded CUDA graphs: the tokens of the steps by their marks, against the slots that the graphs were captured for."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.output.step_lines import step_lines
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.result import GraphTime
from tests.support.arrow_export import write_folder
from tests.support.reports import find_report
from tests.support.tiny_report import TinyReport

WRITE = "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, (int)0>(const __nv_bfloat16 *, long)"
STEP_NS = 100_000
CAPTURED = {1, 2, 4, 8, 16, 24, 32}
"""Captured sizes up to 32: vLLM's defaults, and those that our captures ask for."""


def engine_report(steps: Iterable[tuple[int, list[int]]], kernel: str = WRITE) -> TinyReport:
    """Return a report of steps (requests in generation, blocks of `kernel` in each graph), two layers to a graph."""
    report = TinyReport()
    for number, (requests, graphs) in enumerate(steps):
        report.now = 1_000 + STEP_NS * number
        start = report.now
        for blocks in graphs:
            report.graph(["gemm", kernel, "gemm", kernel], blocks)
        report.mark(f"execute_context_0(0)_generation_{requests}({requests})", start - 100, report.now)
    return report


def graphs_of(report: TinyReport, path: Path, **options: object) -> GraphTime:
    graphs = analyze(report.write(path), **options).phase("decode").graphs
    assert graphs is not None
    return graphs


def lines_of(result: Result, phase: str = "decode") -> list[str]:
    return [line for line in step_lines(result.phase(phase), None) if "padded" in line]


def test_five_tokens_run_the_graph_of_eight(tmp_path: Path) -> None:
    result = analyze(engine_report([(5, [8]), (5, [8]), (3, [4]), (4, [4])]).write(tmp_path / "report.sqlite"))
    graphs = result.phase("decode").graphs
    assert graphs is not None
    assert graphs.padding_reason is None
    padding = graphs.padding
    assert padding is not None
    assert (padding.steps, padding.padded_steps, padding.tokens, padding.slots) == (4, 3, 17, 24)
    assert padding.kernel == "reshape_and_cache_flash_kernel"
    assert lines_of(result) == [
        "CUDA graphs padded: 4.2 tokens asked of 6 slots per step (70.8 %), 3 of 4 steps padded, by the grid of "
        "reshape_and_cache_flash_kernel"
    ]


def test_full_graphs_have_no_line(tmp_path: Path) -> None:
    result = analyze(engine_report([(8, [8]), (4, [4])]).write(tmp_path / "report.sqlite"))
    graphs = result.phase("decode").graphs
    assert graphs is not None
    assert graphs.padding is not None
    assert graphs.padding.padded_steps == 0
    assert not lines_of(result)


def test_phases_by_batch_have_their_own_slots(tmp_path: Path) -> None:
    report = engine_report([(5, [8]), (3, [4]), (5, [8])]).write(tmp_path / "report.sqlite")
    result = analyze(report, by_batch=True)
    assert lines_of(result, "decode[batch=5]")[0].startswith("CUDA graphs padded: 5 tokens asked of 8 slots per step")
    assert lines_of(result, "decode[batch=3]")[0].startswith("CUDA graphs padded: 3 tokens asked of 4 slots per step")


def test_steps_without_a_graph_are_not_counted(tmp_path: Path) -> None:
    report = engine_report([(1, []), (5, [8]), (1, [])])
    for number in (0, 2):
        report.now = 3_000 + STEP_NS * number
        report.kernel(WRITE, 9)
    result = analyze(report.write(tmp_path / "report.sqlite"))
    padding = result.phase("decode").graphs.padding
    assert padding is not None
    assert (padding.steps, padding.tokens, padding.slots) == (1, 5, 8)
    assert lines_of(result)[0].endswith("; 2 other steps have no graph with known slots")


def test_a_kernel_outside_the_graph_says_nothing(tmp_path: Path) -> None:
    report = engine_report([(5, [8])])
    report.now = 20_000
    report.kernel(WRITE, 64)
    padding = graphs_of(report, tmp_path / "report.sqlite").padding
    assert padding is not None
    assert padding.slots == 8


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (
            [(5, [8]), (9, [8])],
            "a step has more tokens than the grid of reshape_and_cache_flash_kernel in its graph has",
        ),
        ([(5, [8]), (5, [8, 16])], "graphs of one step run reshape_and_cache_flash_kernel with different grids"),
    ],
)
def test_a_report_that_contradicts_shows_no_padding(
    tmp_path: Path, steps: list[tuple[int, list[int]]], reason: str
) -> None:
    report = engine_report(steps).write(tmp_path / "report.sqlite")
    for by_batch in (False, True):
        result = analyze(report, by_batch=by_batch)
        for entry in result.entries:
            assert entry.graphs is not None
            assert entry.graphs.padding is None
            assert (entry.graphs.padding_reason or "").startswith(reason)
            assert not lines_of(result, entry.phase)


def test_a_report_that_does_not_tell_says_why(tmp_path: Path) -> None:
    other = graphs_of(engine_report([(5, [8])], "void rms_norm(float *)"), tmp_path / "other.sqlite")
    assert (other.padding, other.padding_reason) == (
        None,
        "no kernel of the graphs is known to run one block per token",
    )

    wide = engine_report([(5, [8])])
    wide.kernels = [(*row[:10], 2, *row[11:]) for row in wide.kernels]
    assert graphs_of(wide, tmp_path / "wide.sqlite").padding_reason == other.padding_reason
    folder = analyze(write_folder(tmp_path / "wide.sqlite", tmp_path / "wide", ".arrow")).phase("decode").graphs
    assert folder is not None
    assert folder.padding_reason == other.padding_reason

    whole = engine_report([(5, [8])])
    whole.kernels = []
    reason = graphs_of(whole, tmp_path / "whole.sqlite").padding_reason
    assert reason == "the report has no kernels of the graphs; capture with --cuda-graph-trace=node"

    plain = engine_report([(5, [8])])
    plain.ranges = [(start, end, kind, "decode", *rest) for start, end, kind, _, *rest in plain.ranges]
    reason = graphs_of(plain, tmp_path / "plain.sqlite").padding_reason
    assert reason == "the marks of the steps do not give their tokens"


def test_a_damaged_grid_is_not_known(tmp_path: Path) -> None:
    for number, blocks in enumerate((0, -8, 2**31, "many", None)):
        report = engine_report([(5, [8])])
        report.kernels = [(*row[:9], blocks, *row[10:]) for row in report.kernels]  # type: ignore[misc]
        assert graphs_of(report, tmp_path / f"{number}.sqlite").padding is None


def marks_and_grids(path: Path) -> list[tuple[int, int, bool]]:
    """Return (tokens by the mark, blocks, inside a graph) of each kernel that writes the KV cache under a mark."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute(
            """
            SELECT coalesce(mark.text, words.value), gridX, coalesce(graphNodeId, 0) <> 0
            FROM CUPTI_ACTIVITY_KIND_KERNEL AS kernel
            JOIN StringIds AS name ON name.id = kernel.demangledName AND name.value LIKE '%reshape_and_cache%'
            JOIN CUPTI_ACTIVITY_KIND_RUNTIME AS call
              ON call.correlationId = kernel.correlationId AND (call.globalTid & ~0xFFFFFF) = kernel.globalPid
            JOIN NVTX_EVENTS AS mark
              ON mark.globalTid = call.globalTid AND call.start BETWEEN mark.start AND mark.end
            LEFT JOIN StringIds AS words ON words.id = mark.textId
            WHERE coalesce(mark.text, words.value) LIKE 'execute_context_%'
            """
        ).fetchall()
    found = []
    for text, blocks, in_graph in rows:
        counts = re.fullmatch(r"execute_context_\d+\((\d+)\)_generation_\d+\((\d+)\)", text)
        assert counts, text
        found.append((int(counts[1]) + int(counts[2]), blocks, bool(in_graph)))
    return found


@pytest.mark.parametrize("name", ["vllm-graph", "vllm-tp2", "vllm-tp2-ahead", "vllm-mixed", "vllm-eager"])
def test_the_cache_write_of_vllm_runs_one_block_per_token(name: str) -> None:
    """The premise, on real reports: the grid is the number of tokens outside graphs, a captured size inside."""
    found = marks_and_grids(find_report(name))
    assert found
    for tokens, blocks, in_graph in found:
        if in_graph:
            assert blocks >= tokens
            assert blocks in CAPTURED
        else:
            assert blocks == tokens


@pytest.mark.parametrize(("name", "layers"), [("vllm-tp2-ahead", 16), ("vllm-mixed", 16), ("vllm-graph", 16)])
def test_the_padding_of_real_reports(name: str, layers: int) -> None:
    path = find_report(name)
    in_graphs = [(tokens, blocks) for tokens, blocks, in_graph in marks_and_grids(path) if in_graph]
    entries = [entry for entry in analyze(path).entries if entry.phase == "decode" and not entry.combined]
    found = [entry.graphs.padding for entry in entries if entry.graphs is not None]
    assert found
    assert sum(padding.steps for padding in found) * layers == len(in_graphs)
    assert sum(padding.tokens for padding in found) * layers == sum(tokens for tokens, _ in in_graphs)
    assert sum(padding.slots for padding in found) * layers == sum(blocks for _, blocks in in_graphs)
    padded = sum(blocks > tokens for tokens, blocks in in_graphs)
    assert sum(padding.padded_steps for padding in found) * layers == padded
    assert bool(padded) == (name != "vllm-graph")


def test_windows_and_folders_show_the_same(tmp_path: Path) -> None:
    path = find_report("vllm-tp2-ahead")
    whole = [entry.graphs for entry in analyze(path).entries]
    assert [entry.graphs for entry in analyze_report(path, window_rows=500).entries] == whole
    assert [entry.graphs for entry in analyze(write_folder(path, tmp_path / "folder", ".arrow")).entries] == whole
