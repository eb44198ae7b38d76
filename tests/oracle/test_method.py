"""What the method promises of every report, and what is known to be true of some."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taxbreak_nsys import Result, TaxbreakError, analyze
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.result import Phase
from tests.support.reports import columns_of, measured_once


def test_states_add_up_to_wall_time(any_report: Path) -> None:
    result = analyze(any_report)
    assert result.entries
    for entry in result.entries:
        assert sum(entry.states_ns.values()) == entry.wall_ns
        assert tuple(entry.states_ns) == STATES
        if entry.exposed_ns is not None:
            assert all(0 <= entry.exposed_ns[s] <= entry.states_ns[s] for s in STATES)
            assert sum(entry.exposed_ns.values()) == entry.device.idle_ns
        assert all(0 <= entry.in_os_ns[s] <= entry.states_ns[s] for s in STATES)
    steps = result.step_sums
    assert np.array_equal(steps.states.sum(axis=1), steps.wall)


def test_host_intervals_tile_each_instance(any_report: Path) -> None:
    columns = measured_once(any_report)
    intervals, instances = columns.intervals, columns.instances
    for index in range(len(instances)):
        mine = np.flatnonzero(intervals.instance == index)
        pieces = np.flatnonzero(instances.piece_instance == index)
        assert intervals.start[mine[0]] == instances.piece_start[pieces[0]]
        assert intervals.end[mine[-1]] == instances.piece_end[pieces[-1]]
        gaps = np.sum(intervals.start[mine[1:]] != intervals.end[mine[:-1]])
        assert gaps <= len(pieces) - 1


def test_orchestration_is_the_sum_of_the_layers(any_report: Path) -> None:
    result = analyze(any_report)
    for entry in result.entries:
        layers = entry.taxbreak
        parts = layers.delta_ft_ns + (layers.delta_ct_ns or 0) + layers.delta_kt_ns
        assert layers.t_orchestration_ns == parts
        assert layers.delta_kt_ns == (entry.launches.kernel + entry.launches.graph) * result.t_sys_ns
        if layers.hdbi is None:
            assert layers.hdbi_reason
        else:
            assert layers.hdbi == pytest.approx(entry.device.active_ns / (entry.device.active_ns + parts))


def test_report_is_unchanged_and_nothing_is_written_beside_it(report, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(report("llama-1b").read_bytes())
    before = hashlib.sha256(copy.read_bytes()).hexdigest()
    stamp = copy.stat().st_mtime_ns
    analyze(copy)
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == before
    assert copy.stat().st_mtime_ns == stamp
    assert list(tmp_path.iterdir()) == [copy]


def a_step(result: Result, label: str) -> dict[str, float]:
    entry = result.phase(label)
    return {state: ns / entry.instances / 1e6 for state, ns in entry.states_ns.items()}


@pytest.fixture
def injected(analysed) -> Result:
    return analysed("inject")


@pytest.mark.parametrize(
    ("label", "state", "least", "most", "leak"),
    [
        ("framework", "python", 10, 11, 0.05),
        ("library", "library", 10, 10.6, 0.05),
        ("blocked", "os_wait", 10, 25, 0.10),
    ],
)
def test_injected_cost_lands_in_its_state_alone(
    injected: Result, label: str, state: str, least: float, most: float, leak: float
) -> None:
    # 200 products a step, 50 us before each: 10 ms
    base, added = a_step(injected, "base"), a_step(injected, label)
    moved = {name: added[name] - base[name] for name in STATES}
    assert least <= moved[state] <= most
    assert {name: ms for name, ms in moved.items() if name != state and abs(ms) > leak * moved[state]} == {}


def test_injected_device_work_is_device_bound(injected: Result) -> None:
    device, base = injected.phase("device"), injected.phase("base")
    assert device.taxbreak.hdbi > 0.8
    assert device.verdict.target == "kernels"
    assert device.states_ns["device_wait"] > 0.5 * device.wall_ns
    assert device.device.active_ns > 10 * base.device.active_ns


def test_verdicts_name_what_was_injected(injected: Result) -> None:
    assert injected.phase("framework").verdict.target == "framework"
    assert injected.phase("library").verdict.target == "library"
    # no lever removes a sleep: the sentence leads with it, the target is what saves most of the rest
    blocked = injected.phase("blocked").verdict
    assert "waits in the operating system for 59% of the phase, which no lever shortens" in blocked.why
    assert blocked.target == "framework"


def test_graph_without_device_rows_is_unmeasured_not_zero(analysed) -> None:
    result = analysed("graph-graph")
    graph, eager = result.phase("decode_graph"), result.phase("decode_eager")
    assert graph.taxbreak.hdbi is None
    assert "--cuda-graph-trace=node" in graph.taxbreak.hdbi_reason
    assert graph.launches.unmeasured_graph == 4
    assert graph.device.active_ns is None
    assert graph.exposed_ns is None
    assert 0 < eager.taxbreak.hdbi < 1
    assert "unmeasured_graphs" in {warning.code for warning in result.report.warnings}


def test_graph_in_node_mode_is_one_launch_with_many_kernels(analysed) -> None:
    graph = analysed("graph-node").phase("decode_graph")
    assert graph.launches.graph == 4
    assert graph.launches.unmeasured_graph == 0
    assert graph.launches.kernel == 0
    assert graph.kernels == 896
    assert graph.taxbreak.hdbi is not None


def test_no_correlation_id_crosses_processes(analysed) -> None:
    columns = columns_of(analysed("multi"))
    ops, launches = columns.trace.ops, columns.launches
    joined = launches.of_op >= 0
    assert joined.any()
    assert np.array_equal(ops.process[joined], launches.thread[launches.of_op[joined]] & ~0xFFFFFF)


def test_label_of_several_threads_has_an_entry_each_and_one_for_all(analysed) -> None:
    result = analysed("multi")
    decode = [entry for entry in result.entries if entry.phase == "decode"]
    single, combined = [e for e in decode if not e.combined], [e for e in decode if e.combined]
    assert len(single) > 1
    assert len(combined) == 1
    assert combined[0].wall_ns == sum(entry.wall_ns for entry in single)
    assert combined[0].launches.kernel == sum(entry.launches.kernel for entry in single)
    # two threads of a process share its device: together it is active no longer than their sum
    assert combined[0].device.active_ns <= sum(entry.device.active_ns for entry in single)


def test_public_report_of_the_newest_schema(analysed) -> None:
    result = analysed("public-2gpu-training")
    assert len({entry.process for entry in result.entries if not entry.combined}) == 2
    assert result.report.schema_version == "3.25.0"


def test_t_sys_sources(report) -> None:
    null = report("null-kernel")
    by_report = analyze(report("llama-1b"), null_report=null)
    assert by_report.t_sys_source == "null_report"
    with sqlite3.connect(f"file:{null}?mode=ro&immutable=1", uri=True) as database:
        gaps = sorted(
            row[0]
            for row in database.execute(
                "SELECT k.start - r.start FROM CUPTI_ACTIVITY_KIND_KERNEL k "
                "JOIN CUPTI_ACTIVITY_KIND_RUNTIME r USING (correlationId)"
            )
        )
    assert by_report.t_sys_ns == gaps[(len(gaps) - 1) // 2]
    assert analyze(report("llama-1b"), t_sys_ns=5000).phase("decode").taxbreak.delta_kt_ns % 5000 == 0
    assert analyze(report("llama-1b")).t_sys_source == "idle_launches"


def test_window_process_and_thread_choose_instances(report, analysed) -> None:
    path, whole = report("llama-1b"), analysed("llama-1b")
    instances = whole.instances
    second = int(instances.start[2])
    late = analyze(path, window_ns=(second, 2**62))
    assert late.phase("decode").instances == 2
    assert [entry.phase for entry in late.entries] == ["decode"]
    cut = analyze(path, window_ns=(second + 1, 2**62))
    assert cut.phase("decode").instances == 1
    assert "instances_cut" in {warning.code for warning in cut.report.warnings}
    pid = whole.entries[0].process
    assert analyze(path, process=pid).entries == whole.entries
    with pytest.raises(TaxbreakError, match="no phase matches"):
        analyze(path, process=pid + 1)


def rows_of(rows: tuple[dict[str, Any], ...], entry: Phase) -> list[dict[str, Any]]:
    key = (entry.phase, entry.process, entry.thread)
    return [row for row in rows if (row["phase"], row["process"], row["thread"]) == key]


def test_kernel_rows_add_up_to_the_phase(any_report: Path) -> None:
    result = analyze(any_report)
    for entry in result.entries:
        rows = rows_of(result.kernel_rows, entry)
        if entry.combined or entry.launches.unmeasured_graph or not rows:
            continue
        assert sum(row["instances"] for row in rows) == entry.kernels
        assert sum(row["device_ns"] for row in rows) == entry.device.kernel_sum_ns
        assert sum(row["launches"] for row in rows) == entry.launches.kernel


@pytest.mark.parametrize("evidence", [None, "subtractive", "samples", "none"])
def test_layers_of_the_tables_add_up_to_the_phase(any_report: Path, evidence: str | None) -> None:
    result = analyze(any_report, evidence=evidence)
    for entry in result.entries:
        for rows in (rows_of(result.kernel_rows, entry), rows_of(result.operator_rows, entry)):
            if entry.combined or not rows:
                continue
            layers = entry.taxbreak
            delta_ft = sum(row["delta_ft_ns"] or 0 for row in rows)
            delta_ct = sum(row["delta_ct_ns"] or 0 for row in rows)
            assert delta_ft + delta_ct == layers.delta_ft_ns + (layers.delta_ct_ns or 0)
            if any(row["delta_ct_ns"] is not None for row in rows):
                assert (delta_ft, delta_ct) == (layers.delta_ft_ns, layers.delta_ct_ns)
            # the last row is the rest of the phase: nothing is counted twice
            assert all((row["delta_ft_ns"] or 0) >= 0 and (row["delta_ct_ns"] or 0) >= 0 for row in rows)


def test_operator_rows_add_up_to_the_phase(analysed) -> None:
    result = analysed("llama-1b-aten")
    for entry in result.entries:
        rows = rows_of(result.operator_rows, entry)
        # every nanosecond of `dispatch` lies inside an operator, and operators hold other states too
        assert entry.states_ns["dispatch"] <= sum(row["self_ns"] for row in rows[:-1]) <= entry.wall_ns
        assert sum(row["self_ns"] for row in rows) == entry.wall_ns
        assert sum(row["kernels"] for row in rows) == entry.kernels
        assert sum(row["launch_ns"] for row in rows) == entry.states_ns["launch"]
        assert all(row[key] >= 0 for row in rows for key in ("self_ns", "kernels", "launch_ns", "device_ns"))
