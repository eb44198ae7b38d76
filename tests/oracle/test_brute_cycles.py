"""The slow twin of cycles, helpers and ranks against what is known by hand: of small reports, and of real engines."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import brute_cycles
from tests.support.engine_reports import SCENARIOS, EngineReport, build_random, build_scenario
from tests.support.report_builder import PID

Json = dict[str, Any]
US = 1000


def scenario(tmp_path: Path, name: str) -> Json:
    return brute_cycles.analyze(build_scenario(tmp_path / f"{name}.sqlite", name))


def spans(result: Json) -> list[tuple[str, int, int]]:
    """Label, start and end of each cycle, us."""
    return [(c["label"], c["start"] // US, c["end"] // US) for c in result["cycles"]]


def states(values: Json) -> dict[str, int]:
    """The states that took any time, us."""
    return {state: ns // US for state, ns in values.items() if ns}


def waits(result: Json) -> list[int | None]:
    return [None if c["comm_wait_ns"] is None else c["comm_wait_ns"] // US for c in result["cycles"]]


def check_invariants(result: Json) -> None:
    """What holds on every report, whatever lies in it."""
    for c in result["cycles"]:
        assert c["wall_ns"] == c["end"] - c["start"] == sum(c["states_ns"].values())
        assert 0 < c["range_ns"] <= c["wall_ns"]
        assert sum(c["helpers_ns"].values()) == c["wall_ns"] * len(c["helpers"])
        assert c["host"] not in c["helpers"]
        if c["exposed_ns"] is not None:
            assert all(c["exposed_ns"][state] <= ns for state, ns in c["states_ns"].items())
            assert c["device"]["busy_ns"] + sum(c["exposed_ns"].values()) == c["wall_ns"]
            assert c["device"]["active_ns"] <= c["device"]["kernel_sum_ns"]
        if c["comm_wait_ns"] is not None:
            assert c["comm_wait_ns"] <= c["comm_ns"]
    for marker in {(c["process"], c["marked_by"]) for c in result["cycles"]}:
        cycles = [c for c in result["cycles"] if (c["process"], c["marked_by"]) == marker]
        assert all(left["end"] <= right["start"] for left, right in pairwise(cycles))
    assert sum(c["kernels"] for c in result["cycles"]) + result["outside"]["kernels"] == result["kernels"]
    for group in result["groups"]:
        assert sum(phase["instances"] for phase in group["phases"]) == group["steps"] <= min(group["steps_of_ranks"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_invariants_of_scenarios(tmp_path: Path, name: str) -> None:
    check_invariants(scenario(tmp_path, name))


@pytest.mark.parametrize("seed", range(30))
def test_invariants_of_random_engines(tmp_path: Path, seed: int) -> None:
    check_invariants(brute_cycles.analyze(build_random(tmp_path / "random.sqlite", seed)))


LABELS = [
    ("execute_context_2(293)_generation_0(0)", "vllm", "prefill"),
    ("execute_context_6(1767)_generation_2(2)", "vllm", "mixed"),
    ("execute_context_0(0)_generation_0(0)", "vllm", "idle"),
    ("[Executor] _forward_step 12: 1 ctx reqs, 3 gen reqs", "tensorrt-llm", "mixed"),
    ("[Executor] _forward_step 12: 0 ctx reqs, 0 gen reqs", "tensorrt-llm", "idle"),
    ("step[EXTEND bs=1 toks=64]", "sglang", "prefill"),
    ("step[DECODE bs=4]", "sglang", "decode"),
    ("step[IDLE bs=0]", "sglang", "idle"),
    ("XlaModule:#hlo_module=jit_forward,program_id=13927#", "xla", "forward"),
]


@pytest.mark.parametrize(("text", "engine", "label"), LABELS)
def test_labels_of_marks(tmp_path: Path, text: str, engine: str, label: str) -> None:
    report, outer = EngineReport(), 100
    thread = report.thread()
    report.range(thread, text, outer, outer + 80)
    # a mark inside a mark is no step
    report.range(thread, text, outer + 10, outer + 20)
    report.kernels(thread, (outer + 30, outer + 34), [(outer + 40, outer + 50)])
    result = brute_cycles.analyze(report.write(tmp_path / "labels.sqlite"))
    assert result["engine"] == engine
    assert [c["label"] for c in result["cycles"]] == ([] if label == "idle" else [label])
    assert [span["marks"] for span in result["idle"]] == ([1] if label == "idle" else [])
    assert result["outside"]["launches"] == (label == "idle")


def test_a_cycle_reaches_to_the_next_mark_and_a_last_one_to_the_end_of_its_work(tmp_path: Path) -> None:
    result = scenario(tmp_path, "between_marks")
    assert spans(result) == [("decode", 100, 300), ("decode", 300, 520), ("prefill", 900, 1005)]
    sampled, before_idle, last = result["cycles"]
    assert [c["range_ns"] for c in result["cycles"]] == [50 * US] * 3
    assert sampled["kernels"] == 2
    assert states(sampled["states_ns"]) == {"launch": 8, "device_wait": 15, "python": 177}
    assert states(sampled["exposed_ns"]) == {"launch": 4, "device_wait": 15, "python": 111}
    assert sampled["device"] == {"active_ns": 70_000, "kernel_sum_ns": 70_000, "busy_ns": 70_000, "idle_ns": 130_000}
    # of the kernel that the launch at 505 left behind, which runs after the cycle, only the launch is in the cycle
    assert before_idle["kernels"] == 2
    assert before_idle["device"]["active_ns"] == 170_000
    assert before_idle["device"]["busy_ns"] == 160_000
    assert states(last["states_ns"]) == {"launch": 4, "runtime": 5, "python": 96}
    assert result["outside"] == {"launches": 1, "kernels": 1}
    assert (result["idle"][0]["idle_ns"], result["idle"][0]["idle_marked_ns"]) == (380_000, 400_000)


def test_device_work_past_an_idle_mark_ends_at_the_next_step(tmp_path: Path) -> None:
    result = scenario(tmp_path, "device_past_idle")
    assert spans(result) == [("decode", 100, 600), ("decode", 600, 750)]
    first, second = result["cycles"]
    assert (first["device"]["active_ns"], first["device"]["busy_ns"]) == (570_000, 470_000)
    assert (second["device"]["active_ns"], second["device"]["busy_ns"]) == (40_000, 140_000)
    assert result["idle"][0]["marks"] == 3
    assert result["idle"][0]["idle_ns"] == 30_000


def test_the_thread_with_most_launches_hosts_and_the_others_help(tmp_path: Path) -> None:
    result = scenario(tmp_path, "helper_launches")
    assert spans(result) == [("decode", 100, 200), ("decode", 200, 259)]
    by_worker, by_marker = result["cycles"]
    assert (by_worker["host"], by_worker["helpers"]) == (PID + 1, [PID, PID + 2])
    assert by_worker["launches"] == {"kernel": 4, "graph": 0, "memory": 1, "unmeasured_graph": 0}
    assert states(by_worker["states_ns"]) == {"launch": 12, "os_wait": 30, "python": 58}
    assert states(by_worker["helpers_ns"]) == {"launch": 4, "memop": 5, "python": 191}
    # half of the launches is enough
    assert (by_marker["host"], by_marker["helpers"]) == (PID, [PID + 1])
    assert states(by_marker["states_ns"]) == {"launch": 8, "python": 51}


def test_a_step_marked_by_two_threads_that_launch_nothing_has_one_wall(tmp_path: Path) -> None:
    result = scenario(tmp_path, "engine_thread_marks")
    assert spans(result) == [("decode", 100, 200), ("decode", 200, 280)]
    assert [(c["marked_by"], c["host"], c["helpers"]) for c in result["cycles"]] == [(PID, PID + 2, [])] * 2


def test_a_thread_of_copies_helps_though_it_marks(tmp_path: Path) -> None:
    result = scenario(tmp_path, "copier_marks_too")
    assert spans(result) == [("decode", 100, 200), ("decode", 200, 265)]
    assert [(c["host"], c["helpers"]) for c in result["cycles"]] == [(PID, [PID + 1])] * 2


def test_threads_that_launch_on_their_own_devices_are_ranks(tmp_path: Path) -> None:
    result = scenario(tmp_path, "replicas_in_threads")
    assert len(result["cycles"]) == 4
    (group,) = result["groups"]
    assert [rank["marked_by"] for rank in group["ranks"]] == [PID, PID + 1]
    (decode,) = group["phases"]
    assert [rank["comm_wait_ns"] for rank in decode["ranks"]] == [0, 40_000]
    assert decode["wall_ns"] == 170_000
    assert [rank["marked_by"] for rank in decode["slowest"]] == [PID, PID]


def test_threads_that_launch_on_one_device_have_a_wall_each(tmp_path: Path) -> None:
    result = scenario(tmp_path, "threads_on_one_device")
    assert spans(result) == [("decode", 100, 200), ("decode", 200, 250), ("decode", 105, 205), ("decode", 205, 255)]
    assert [c["helpers"] for c in result["cycles"]] == [[]] * 4
    assert result["groups"] == []


def test_ranks_wait_for_the_slowest_step_by_step(tmp_path: Path) -> None:
    result = scenario(tmp_path, "two_ranks")
    assert waits(result) == [0, 30, 0, 70, 0, 40]
    (group,) = result["groups"]
    prefill, decode = group["phases"]
    assert (group["steps"], prefill["instances"], decode["instances"]) == (3, 1, 2)
    assert [rank["process"] for rank in prefill["slowest"] + decode["slowest"]] == [PID, PID + 1, PID]
    assert (prefill["wall_ns"], decode["wall_ns"]) == (200_000, 300_000)
    assert (prefill["comm_ns"], prefill["comm_wait_ns"]) == (25_000, 0)
    assert [rank["comm_wait_ns"] for rank in decode["ranks"]] == [30_000, 40_000]
    # arrivals 270/220, 290/290, 330/310; and 460/490, 690/650
    assert (prefill["skew_median_ns"], prefill["skew_largest_ns"]) == (20_000, 50_000)
    assert (decode["skew_median_ns"], decode["skew_largest_ns"]) == (30_000, 40_000)
    # rank 1 spins from 220 to 270 and from 310 to 330: neither active nor busy
    spinning = result["cycles"][3]
    assert spinning["device"]["active_ns"] == spinning["device"]["busy_ns"] == (5 + 10 + 10 + 5) * US
    assert spinning["device"]["kernel_sum_ns"] == 100_000


def test_ranks_of_one_device_number_have_a_device_each(tmp_path: Path) -> None:
    result = scenario(tmp_path, "hidden_devices")
    assert waits(result) == [60, 0]
    assert [c["device"]["busy_ns"] for c in result["cycles"]] == [20_000, 85_000]


def test_ranks_that_disagree_have_their_common_part(tmp_path: Path) -> None:
    result = scenario(tmp_path, "unequal_ranks")
    assert waits(result) == [0, None, None, 10, None]
    assert [c["comm_reason"] for c in result["cycles"]] == [
        None,
        "numbers differ",
        "no partner",
        None,
        "numbers differ",
    ]
    (group,) = result["groups"]
    assert (group["steps"], group["steps_of_ranks"]) == (2, [2, 3])
    assert group["phases"][0]["comm_wait_ns"] is None
    # nothing of an unpaired collective is taken for waiting
    assert result["cycles"][4]["device"]["active_ns"] == 25_000


def test_steps_of_other_labels_do_not_pair(tmp_path: Path) -> None:
    result = scenario(tmp_path, "unlike_processes")
    assert result["groups"] == []
    assert waits(result) == [None] * 4


def test_devices_of_one_process_wait_for_each_other(tmp_path: Path) -> None:
    (cycle,) = scenario(tmp_path, "devices_of_one_process")["cycles"]
    assert (cycle["comm_ns"], cycle["comm_wait_ns"]) == (60_000, 30_000)
    assert cycle["device"]["active_ns"] == 30_000
    assert cycle["device"]["busy_ns"] == 10_000


def test_an_unmeasured_graph_leaves_device_time_unknown(tmp_path: Path) -> None:
    unknown, known = scenario(tmp_path, "unmeasured_graph")["cycles"]
    assert set(unknown["device"].values()) == {None}
    assert unknown["exposed_ns"] is None
    assert states(unknown["states_ns"]) == {"launch": 10, "python": 90}
    assert known["device"]["active_ns"] == 10_000


ENGINES = ["vllm-eager", "vllm-graph", "vllm-mixed", "vllm-tp2", "vllm-olmoe-eager", "vllm-sampled", "jax"]


@pytest.mark.parametrize("name", ENGINES)
def test_invariants_of_real_engines(report: Any, name: str) -> None:
    check_invariants(brute_cycles.analyze(report(name)))


def walls(result: Json, label: str) -> list[int]:
    return [c["wall_ns"] for c in result["cycles"] if c["label"] == label]


def busy_share(result: Json, label: str) -> float:
    cycles = [c for c in result["cycles"] if c["label"] == label]
    return sum(c["device"]["busy_ns"] for c in cycles) / sum(c["wall_ns"] for c in cycles)


def test_vllm_with_graphs(report: Any) -> None:
    # 7 steps of 2.6 ms without a profiler; the device works for 46 % of a step, sampling included
    result = brute_cycles.analyze(report("vllm-graph"))
    decode = walls(result, "decode")
    assert len(decode) == 7
    assert 2.8e6 <= brute_cycles.percentile(decode, 50) <= 3.0e6
    assert 0.44 <= busy_share(result, "decode") <= 0.48
    assert result["outside"]["kernels"] < result["kernels"] / 100


@pytest.mark.parametrize(("name", "steps"), [("vllm-eager", 8), ("vllm-olmoe-eager", 6), ("vllm-sampled", 6)])
def test_every_sampler_kernel_is_in_a_step(report: Any, name: str, steps: int) -> None:
    result = brute_cycles.analyze(report(name))
    assert len(result["cycles"]) == steps
    assert result["outside"]["kernels"] == 0


def test_vllm_with_requests_that_end_one_by_one(report: Any) -> None:
    cycles = brute_cycles.analyze(report("vllm-mixed"))["cycles"]
    assert [c["label"] for c in cycles] == ["prefill", "mixed"] + ["decode"] * 26
    requests = [c["numbers"]["generation_requests"] for c in cycles[2:]]
    assert requests == sorted(requests, reverse=True)
    assert set(requests) == set(range(1, 9))


def test_a_rank_of_vllm_that_waits(report: Any) -> None:
    result = brute_cycles.analyze(report("vllm-tp2"))
    (group,) = result["groups"]
    waiting = [sum(phase["ranks"][rank]["comm_wait_ns"] for phase in group["phases"]) for rank in range(2)]
    assert waiting[0] < 0.1e6
    assert 25e6 <= waiting[1] <= 26e6
    assert {rank["process"] for phase in group["phases"] for rank in phase["slowest"]} == {1003}


def test_jax_counts_the_wall_of_a_step_once(report: Any) -> None:
    result = brute_cycles.analyze(report("jax"))
    assert len(walls(result, "forward")) == 7
    assert 25e6 <= sum(c["wall_ns"] for c in result["cycles"]) <= 40e6
    assert {c["host"] for c in result["cycles"]} == {4580}
    assert {helper for c in result["cycles"] for helper in c["helpers"]} == {4664, 4665}
