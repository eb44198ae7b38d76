"""Reports of real engines against what is known of them from elsewhere: un-profiled times, marks, the workload."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.output.html.html_tables import card
from taxbreak_nsys.output.step_lines import between_modules, between_ns
from taxbreak_nsys.output.text_report import render_text
from tests.support.engine_reports import build_scenario

Analysed = Callable[[str], Result]


def share_outside(result: Result) -> float:
    return result.outside.kernels / (sum(e.kernels for e in result.entries if not e.combined) + result.outside.kernels)


def test_a_compiled_step_lasts_until_the_next_one(analysed: Analysed) -> None:
    # un-profiled, seven steps take 2.6 ms each; the marks cover 1.4 ms of them
    decode = analysed("vllm-graph").phase("decode")
    assert decode.instances == 7
    assert 2_800_000 <= decode.wall_ns // 7 <= 3_000_000
    assert decode.device.busy_share is not None
    assert 0.44 <= decode.device.busy_share <= 0.48
    assert decode.range_ns < decode.wall_ns / 1.8
    assert share_outside(analysed("vllm-graph")) < 0.01


@pytest.mark.parametrize("name", ["vllm-eager", "vllm-olmoe-eager", "vllm-sampled"])
def test_sampling_lies_in_the_steps(analysed: Analysed, name: str) -> None:
    result = analysed(name)
    assert result.outside.kernels == 0
    decode = result.phase("decode")
    assert decode.steps is not None
    assert decode.steps.tokens == decode.instances
    assert decode.steps.kernels_per_token == decode.kernels / decode.instances


def test_steps_of_a_batch_that_shrinks(analysed: Analysed) -> None:
    result = analysed("vllm-mixed")
    assert {e.phase: e.instances for e in result.entries} == {"prefill": 1, "mixed": 1, "decode": 26}
    tokens = result.phase("decode").steps
    assert tokens is not None
    assert tokens.tokens is not None
    assert tokens.tokens > 26


def test_kernels_of_graphs_traced_as_a_whole_are_not_counted_as_none() -> None:
    result = analyze(Path(__file__).parents[2] / "sample_reports" / "vllm-graph-whole.sqlite")
    decode, prefill = result.phase("decode"), result.phase("prefill")
    assert decode.graphs is not None
    assert decode.graphs.whole == decode.graphs.launches == decode.instances
    assert decode.kernels == decode.launches.kernel
    assert decode.steps is not None
    assert decode.steps.kernels_per_token is None
    assert decode.steps.launches_per_token is not None
    assert prefill.steps is not None
    assert prefill.steps.kernels_per_token == prefill.kernels / prefill.steps.tokens
    text = render_text(result, "taxbreak_sum", None)
    assert f"{decode.kernels // decode.instances} kernels outside CUDA graphs" in text.replace("\n", " ")
    assert "tracing the nodes" not in text
    assert "kernels outside CUDA graphs per step" in card(decode, result)["size"]
    assert "outside" not in card(prefill, result)["size"]


def test_kernels_of_graphs_traced_by_node_are_counted(analysed: Analysed) -> None:
    decode = analysed("vllm-graph").phase("decode")
    assert decode.graphs is not None
    assert decode.graphs.whole == 0
    assert decode.kernels > decode.launches.kernel
    text = render_text(analysed("vllm-graph"), "taxbreak_sum", None)
    assert "to launch each (tracing the nodes makes it longer)" in text


def test_tracing_the_nodes_makes_the_launch_of_a_graph_longer(analysed: Analysed) -> None:
    by_node, whole = (analysed(name).phase("decode_graph").graphs for name in ("graph-node", "graph-graph"))
    assert by_node is not None
    assert whole is not None
    assert (by_node.whole, whole.whole) == (0, whole.launches)
    assert by_node.launch_ns / by_node.launches > 3 * whole.launch_ns / whole.launches


def test_samples_say_what_ran_between_the_marks(report) -> None:
    path = report("vllm-sampled")
    result = analyze(path)
    decode, instances = result.phase("decode"), result.instances
    rows = [row for row in result.sample_rows if row["phase"] == "decode"]
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        moments = [
            moment
            for (moment,) in database.execute(
                "SELECT start FROM COMPOSITE_EVENTS JOIN SAMPLING_CALLCHAINS USING (id) "
                "WHERE (globalTid & 0xFFFFFF) = ? GROUP BY id",
                (decode.thread,),
            )
        ]
    steps = [
        (instances.start[k], instances.mark_end[k], instances.end[k])
        for k in range(len(instances))
        if instances.labels[instances.label[k]] == "decode"
    ]
    inside = [moment for moment in moments for start, _, end in steps if start <= moment < end]
    between = [moment for moment in inside for _, mark_end, end in steps if mark_end <= moment < end]
    assert sum(row["samples"] for row in rows) == len(inside)
    assert 0 < len(between) < len(inside)
    # the time of a state is split evenly among its samples, so the two shares agree but for the states' spacing
    share = sum(row["between_ns"] for row in rows) / sum(row["total_ns"] for row in rows)
    assert share == pytest.approx(len(between) / len(inside), abs=0.02)
    assert all(0 <= row["between_ns"] <= row["total_ns"] for row in rows)
    assert "on the CPU between the marks, by samples: " in (between_modules(decode, result.sample_rows, None) or "")
    text = render_text(result, "taxbreak_symbol_sum", None)
    assert "Between" in text.splitlines()[1]


def test_without_an_engines_marks_nothing_is_between(analysed: Analysed) -> None:
    result = analysed("inject")
    assert {row["between_ns"] for row in (*result.sample_rows, *result.symbol_rows)} == {None}
    assert "Between" not in render_text(result, "taxbreak_sample_sum", None)


def test_the_layers_between_the_marks_add_up_to_the_states(report) -> None:
    def both(entry) -> int:
        return sum(between_ns(entry, layer) or 0 for layer in ("framework", "library"))

    for evidence in ("ranges", "samples", "none"):
        decode = analyze(report("vllm-sampled"), evidence=evidence).phase("decode")
        assert decode.taxbreak.evidence == evidence
        states = sum(decode.between_ns[state] for state in (*FRAMEWORK_STATES, "library"))
        if evidence == "samples":
            # the part off the CPU is in neither layer
            assert 0.9 * states <= both(decode) <= states
        elif evidence == "ranges":
            assert both(decode) == states
            assert between_ns(decode, "library") == decode.between_ns["library"]
        else:
            assert between_ns(decode, "framework_library") == states
            assert between_ns(decode, "library") is None
        assert between_ns(decode, "launch_path") == decode.between_ns["launch"]
        assert between_ns(decode, "off_cpu") is None


def test_a_rank_that_spins_waits(analysed: Analysed) -> None:
    # rank 1 spins 25.8 ms in an all-reduce for rank 0
    result = analysed("vllm-tp2")
    waits: dict[int, int] = {}
    for entry in result.entries:
        assert entry.communication is not None
        if entry.process is not None:
            waits[entry.process] = waits.get(entry.process, 0) + (entry.communication.comm_wait_ns or 0)
    assert 25_000_000 <= max(waits.values()) <= 26_000_000
    assert min(waits.values()) < 100_000
    for label in ("prefill", "decode"):
        group = result.phase(label)
        assert group.ranks is not None
        assert group.ranks.kind == "tensor parallel"
        assert group.taxbreak.hdbi is not None
        assert group.taxbreak.hdbi < 0.35
        assert sum(rank.slowest_steps for rank in group.ranks.ranks) == group.ranks.paired_steps == group.instances
    text = render_text(result, "taxbreak_sum", None)
    assert "decode (2 ranks, tensor parallel)" in text
    assert "decode (process" not in text
    assert "decode (process" in render_text(result, "taxbreak_sum", None, ranks=True)


def test_own_kernel_classes_say_what_communication_is(tmp_path: Path) -> None:
    known = build_scenario(tmp_path / "known.sqlite", "two_ranks")
    unknown = tmp_path / "unknown.sqlite"
    shutil.copy(known, unknown)
    with closing(sqlite3.connect(unknown)) as database:
        database.execute("UPDATE StringIds SET value = 'mine_all' WHERE value LIKE '%reduce%'")
        database.execute("UPDATE StringIds SET value = 'mine_gather' WHERE value LIKE '%gather%'")
        database.commit()
    own = tmp_path / "classes.toml"
    own.write_text('[[class]]\nname = "communication"\nkernels = ["mine_*"]\n')

    def communication(result: Result) -> list[object]:
        return [(e.phase, e.process, e.communication) for e in result.entries]

    expected = communication(analyze(known))
    assert any(facts.comm_wait_ns for _, _, facts in expected)
    assert communication(analyze(unknown, kernel_classes=own)) == expected
    assert communication(analyze(unknown)) != expected


def test_helpers_do_not_count_the_wall_again(analysed: Analysed) -> None:
    # seven calls of one function, 25.4 ms un-profiled; two threads help with copies
    result = analysed("jax")
    steps = [e for e in result.entries if e.phase in ("prefill", "decode")]
    assert [(e.phase, e.instances) for e in steps] == [("prefill", 1), ("decode", 6)]
    assert 25_000_000 <= sum(e.wall_ns for e in result.entries) <= 40_000_000
    assert all(e.helpers_ns is not None for e in steps)
    assert len({e.thread for e in result.entries}) == 1


@pytest.mark.parametrize("name", ["vllm-eager", "vllm-graph", "vllm-mixed", "vllm-olmoe-eager", "vllm-sampled"])
def test_steps_are_found_without_marks(analysed: Analysed, report: Callable[[str], Path], name: str) -> None:
    marked, found = analysed(name), analyze(report(name), phase_source="auto")
    count = sum(e.instances for e in marked.entries)
    assert sum(e.instances for e in found.entries) == count
    assert {e.phase for e in found.entries} == {"prefill", "decode"}
    steps = [e.instances for e in found.entries if e.phase == "decode"]
    assert steps == [e.instances for e in marked.entries if e.phase == "decode"]
    for entry in found.entries:
        assert entry.phase_source.kind == "auto"


def test_steps_of_graphs_are_found_without_marks(report: Callable[[str], Path]) -> None:
    found = analyze(report("jax"), phase_source="auto")
    (entry,) = found.entries
    assert entry.instances == 7
    assert 25_000_000 <= entry.wall_ns <= 40_000_000


def test_no_row_for_idle_steps(analysed: Analysed) -> None:
    result = analysed("vllm-graph")
    assert "idle" not in {e.phase for e in result.entries}
    (idle,) = result.idle
    assert idle.instances == 2
    assert "(idle) 2 steps without requests" in render_text(result, "taxbreak_sum", None)


def test_states_between_the_marks_are_part_of_the_states(analysed: Analysed) -> None:
    for name in ("vllm-eager", "vllm-graph", "vllm-mixed", "vllm-tp2", "jax"):
        for entry in analysed(name).entries:
            assert entry.between_ns is not None
            assert all(0 <= entry.between_ns[state] <= ns for state, ns in entry.states_ns.items())
            assert sum(entry.between_ns.values()) == entry.wall_ns - entry.range_ns
            assert sum(entry.states_ns.values()) == entry.wall_ns


def test_the_scheduler_works_while_the_worker_waits(analysed: Analysed) -> None:
    result = analysed("vllm-tp2")
    first = result.processes[0]
    assert first.on_cpu_between_ns is not None
    assert first.on_cpu_ns is not None
    assert 0 < first.on_cpu_between_ns <= first.on_cpu_ns
    assert not {first.process} & {entry.process for entry in result.entries}


def test_ranges_that_the_device_outlasts_are_warned_of(report: Callable[[str], Path]) -> None:
    result = analyze(report("vllm-graph"), instances="range")
    (warning,) = [w for w in result.report.warnings if w.code == "device_past_end"]
    assert "decode" in warning.message
    assert "--instances cycle" in warning.remedy
    assert "device_past_end" not in {w.code for w in analyze(report("vllm-graph")).report.warnings}
    # a synchronous loop waits for the device inside its ranges
    assert "device_past_end" not in {w.code for w in analyze(report("llama-1b")).report.warnings}


def test_cycles_of_a_users_own_marks(report: Callable[[str], Path]) -> None:
    ranges, cycles = (analyze(report("llama-1b"), instances=kind).phase("decode") for kind in ("range", "cycle"))
    assert cycles.cycles
    assert not ranges.cycles
    assert cycles.instances == ranges.instances
    assert cycles.wall_ns >= ranges.wall_ns == cycles.range_ns


def test_an_engines_time_per_output_token_is_a_reference(report: Callable[[str], Path], tmp_path: Path) -> None:
    # a step of the engine gives each request one token, so the time per output token is that of a step: 2.6 ms bare
    reference = tmp_path / "tpot.json"
    reference.write_text('{"decode": {"tpot_ms": 2.6}}', encoding="utf-8")
    decode = analyze(report("vllm-graph"), reference=reference).phase("decode")
    assert decode.corrected is not None
    assert decode.corrected.reference_ns == 2_600_000
    assert decode.corrected.wall_ns == 7 * 2_600_000
    assert 1.05 < decode.corrected.dilation < 1.15
    assert decode.corrected.hdbi is not None
    assert decode.taxbreak.hdbi is not None
    assert decode.corrected.hdbi > decode.taxbreak.hdbi
