"""The validation on a serving engine: its arithmetic on made reports, and real reports against the workload's clock."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

import taxbreak_nsys
from tests.support.engine_reports import EngineReport
from tests.support.report_builder import PID

ROOT = Path(__file__).resolve().parents[2]
DOCS, SAMPLES = ROOT / "docs", ROOT / "sample_reports"
sys.path.insert(0, str(DOCS))

from validating import (  # noqa: E402
    document,
    engine_cost_tables,
    engine_document,
    engine_forecasts,
    engine_models,
    engine_steps,
)
from validating.engine_costs import costs_of, cycles_of_process  # noqa: E402
from validating.engine_truth import clock_offset, read_truth  # noqa: E402

CLOCK_NS = 5_000_000_000
"""How far the workload's clock is behind the report's, in made truths."""
Spans = list[tuple[str, int, int]]


def made_report(path: Path, costs: dict[int, Spans], steps: int = 10) -> tuple[Path, Path]:
    """Write decode steps of 1000 us, marks of 400 us in them, a kernel each; costs (place, from, to) in us of a step.

    A cost makes its step longer; inside the mark, the mark as well. Returns the report and its truth.
    """
    report, thread = EngineReport(), 0
    thread = report.thread()
    now, rows, marks = 1_000, [], []
    for step in range(steps):
        inside = sum(end - start for _, start, end in costs.get(step, []) if start < 400)
        longer = sum(end - start for _, start, end in costs.get(step, []))
        report.mark(thread, 0, 1, now, now + 400 + inside)
        report.kernels(thread, (now + 10, now + 14), [(now + 20, now + 30)])
        marks.append([report.at(now) - CLOCK_NS, 1, 1])
        for place, start, end in costs.get(step, []):
            rows.append([place, 200, step, report.at(now + start) - CLOCK_NS, report.at(now + end) - CLOCK_NS])
        now += 1_000 + longer
    report.call(thread, "cudaStreamSynchronize_v3020", now, now + 5)
    process = {"pid": PID, "role": "engine", "rank": 0, "captured": [[marks[0][0], None]], "steps": marks}
    truth = {
        "args": {"batches": [1]},
        "segments": [],
        "front_rows": [],
        "processes": [process | {"rows": rows, "device": []}],
    }
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(truth))
    return report.write(path), beside


def found(path: Path, costs: dict[int, Spans]) -> dict[str, Any]:
    report, truth = made_report(path, costs)
    return costs_of(taxbreak_nsys.analyze(report, intervals=True), read_truth(truth))


def test_a_cost_is_compared_with_the_cycles_around_it(tmp_path: Path) -> None:
    costs = found(
        tmp_path / "made.sqlite", {4: [("scheduler", 700, 900)], 7: [("forward", 100, 250), ("forward", 300, 350)]}
    )
    between, inside = costs["pairs"]["scheduler 200"], costs["pairs"]["forward 200"]
    assert (between["added"], between["python between"], between["python inside"]) == ([200_000], [200_000], [0])
    assert (inside["added"], inside["python between"], inside["python inside"]) == ([200_000], [0], [200_000])
    assert inside["wall"] == [200_000]


def test_the_time_of_a_cost_is_counted_where_it_lies(tmp_path: Path) -> None:
    costs = found(tmp_path / "made.sqlite", {4: [("scheduler", 700, 900)], 7: [("forward", 100, 250)]})
    assert costs["windows"]["scheduler 200"] == {
        "count": 1, "added": 200_000, "inside": 0, "states": {"python": 200_000},
    }  # fmt: skip
    assert costs["windows"]["forward 200"]["inside"] == 150_000


def test_a_cost_that_lies_in_a_call_is_not_python(tmp_path: Path) -> None:
    # from the 8th us of the step on: 2 us of Python, the launch of 4 us, 2 us of Python
    costs = found(tmp_path / "made.sqlite", {5: [("forward", 8, 16)]})
    assert costs["windows"]["forward 200"]["states"] == {"python": 4_000, "launch": 4_000}


def test_a_report_that_lost_steps_is_refused(tmp_path: Path) -> None:
    report, truth = made_report(tmp_path / "made.sqlite", {})
    data = json.loads(truth.read_text())
    data["processes"][0]["steps"].pop()
    truth.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="10 steps in the report, 9 in the workload"):
        costs_of(taxbreak_nsys.analyze(report, intervals=True), read_truth(truth))


# ------------------------------------------------------------------------------- real reports, the workload's clock


@pytest.mark.parametrize("name", ["vllm-graph-whole", "vllm-tp2-ahead"])
def test_cycles_are_the_steps_of_the_workloads_clock(name: str) -> None:
    instances = taxbreak_nsys.analyze(SAMPLES / f"{name}.sqlite").instances
    truth = read_truth(SAMPLES / f"{name}.truth.json")
    assert len(truth.processes) == (2 if "tp2" in name else 1)
    for process in truth.processes:
        rows = cycles_of_process(instances, process.pid)
        clock_offset(process, instances.start[rows])
        ran = process.times[(process.times >= process.capture_start) & (process.requests > 0)]
        whole = instances.end[rows[:-1]] == instances.start[rows[1:]]
        own = np.diff(ran)[whole]
        differences = np.abs((instances.end - instances.start)[rows[:-1]][whole] - own) / own
        assert whole.sum() >= 30
        assert median(differences) < 0.001
        assert max(differences) < 0.01


def test_ranks_that_run_ahead_are_one_group() -> None:
    decode = taxbreak_nsys.analyze(SAMPLES / "vllm-tp2-ahead.sqlite").phase("decode")
    assert decode.ranks is not None
    assert decode.ranks.kind == "tensor parallel"
    assert decode.communication is not None
    # the wait is the other rank's, so the group's is small beside its wall
    assert decode.communication.comm_wait_ns is not None
    assert decode.communication.comm_wait_ns < 0.02 * decode.wall_ns


def test_a_graph_traced_as_a_whole_has_device_time() -> None:
    truth = read_truth(SAMPLES / "vllm-graph-whole.truth.json")
    decode = taxbreak_nsys.analyze(SAMPLES / "vllm-graph-whole.sqlite", by_batch=True).phase("decode[batch=1]")
    assert decode.launches.graph == decode.instances
    # the step cannot be busy for longer than it lasts, bare or captured
    assert 0.3 < decode.taxbreak.t_device_active_ns / decode.instances / median(truth.cycles("bare", 1)) < 1


# ---------------------------------------------------------------------------------------------- the pages' claims


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    return engine_document.load_engine(DOCS / "data")


def test_what_the_pages_say_holds_in_the_data(records: dict[str, Any]) -> None:
    # injected Python is Python, on its side of the mark, to the last per mille
    for run in engine_cost_tables.WINDOW_RUNS:
        for name, window in records[run]["costs"]["windows"].items():
            place = name.split()[0]
            if place in ("scheduler", "output", "sampler", "forward", "rank"):
                assert window["states"]["python"] > 0.999 * window["added"], (run, name)
                assert window["inside"] == (window["added"] if place in ("forward", "rank") else 0), (run, name)
    assert max(engine_document.cycle_differences(records)) < 0.03
    assert all(abs(off) <= 0.08 for off in engine_steps.correction_offs(records, "eager"))
    assert all(0 < off < 0.15 for off in engine_steps.correction_offs(records, "graphs"))
    # of the layers' part of the un-profiled step
    eager, graphs = (engine_steps.layer_offs(records, mode) for mode in ("eager", "graphs"))
    assert all(abs(off) <= 0.05 for off in eager)
    assert sum(abs(off) > 0.05 for off in graphs) <= 1
    assert max(abs(off) for off in graphs) < 0.06
    assert all(step.paired for step in engine_steps.steps(records))
    ratios = {
        pair[2].removeprefix("b/"): [engine_models.ratio(records, *pair[2:], batch) for batch in engine_models.BATCHES]
        for pair in engine_models.PAIRS
    }
    assert ratios["hf-olmoe"][0] < 8 < 11 < ratios["hf-olmoe"][1] < ratios["hf-olmoe"][2]
    assert ratios["hf-qwen"][0] < 7 < ratios["hf-qwen"][1] < 8 < 11 < ratios["hf-qwen"][2]
    assert max(ratios["olmoe-e-light"]) - min(ratios["olmoe-e-light"]) < 0.05
    assert max(ratios["qwen-e-light"]) - min(ratios["qwen-e-light"]) < 0.15
    for prompt in (128, 1024):
        one, eight = (
            engine_models.decode_of(records["b/olmoe-g-light"], batch, prompt)["taxbreak"]["hdbi"] for batch in (1, 8)
        )
        assert one < 0.5 < eight
        loop = [engine_models.decode_of(records["b/hf-olmoe"], batch, prompt) for batch in engine_models.BATCHES]
        assert max(entry["taxbreak"]["hdbi"] for entry in loop) < 0.1
    assert {run for run, *_, same in engine_steps.without_marks(records) if not same} == {
        "g-inj-whole24", "g-ngram", "g-whole24", "b/g-inj-whole24",
    }  # fmt: skip
    errors = engine_document.graphs_errors(records)
    assert abs(median(errors)) < 0.05
    assert "-35 to +22 %, median +2 %" in (DOCS / "whatif.md").read_text()
    assert (round(100 * min(errors)), round(100 * max(errors)), round(100 * median(errors))) == (-35, 22, 2)
    assert all(abs(off) < 0.15 for off in engine_forecasts.graphs_savings(records))
    off, chance = engine_cost_tables.sampled_off(records)
    assert abs(off) + chance < 0.1
    for run in ("e-p1024", "g-p1024"):
        # the step that waits for the prefill's device work is not the reference's
        phase = records[run]["phases"]["decode[batch=32]"]
        active = phase["device"]["active_ns"] / phase["instances"]
        assert phase["corrected"]["long_waits"] == 1
        assert 0 < phase["corrected"]["hdbi"] / (active / (active + phase["corrected"]["reference_ns"])) - 1 < 0.15
    assert engine_document.costs_within(records) < len(engine_cost_tables.cost_cells(records)) / 2


def test_every_capture_in_the_data_is_in_the_log(records: dict[str, Any]) -> None:
    logs = {
        prefix: (DOCS / "data" / "engine" / f"{host}.md").read_text() for host, prefix in engine_document.HOSTS.items()
    }
    for name in records:
        prefix = "b/" if name.startswith("b/") else ""
        assert re.search(rf"\| {name.removeprefix(prefix)} \|", logs[prefix]), name


def test_the_engine_is_no_machine_of_the_loop() -> None:
    assert set(document.load(DOCS / "data")) == {"h100", "h200"}
