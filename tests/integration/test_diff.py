"""Comparisons: the change in the right layer, chance told from change, and captures that cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxbreak_nsys import Result, TaxbreakError
from taxbreak_nsys.comparison.change import Change, interval, possible_interval
from taxbreak_nsys.comparison.comparison import Comparison, PhaseChange, compare
from taxbreak_nsys.comparison.largest_changes import moved
from taxbreak_nsys.comparison.sample_changes import phase_samples
from tests.support import in_process


def run(*words: object, **where: Path) -> in_process.Done:
    return in_process.run("diff", *words, **where)


def figure(phase: PhaseChange, name: str) -> Change:
    return next(change for change in phase.changes if change.metric == name)


def test_samples_add_up_to_the_phase(any_report: Path, analysed) -> None:
    result = analysed(any_report.stem)
    for label, samples in phase_samples([result]).items():
        entries = [entry for entry in result.entries if entry.phase == label and not entry.combined]
        assert samples.instances == sum(entry.instances for entry in entries)
        assert samples.values["wall_ns"].sum() == sum(entry.wall_ns for entry in entries)
        for name in ("delta_ft_ns", "delta_ct_ns"):
            if name in samples.values:
                total = sum(getattr(entry.taxbreak, name) for entry in entries)
                assert samples.values[name].sum() == pytest.approx(total)
        layers = ("framework_library_ns", "launch_ns", "memop_ns", "module_load_ns", "device_wait_ns", "os_wait_ns",
                  "profiler_ns")  # fmt: skip
        assert sum(samples.values[name] for name in layers) == pytest.approx(samples.values["wall_ns"])


@pytest.mark.parametrize(("phase", "layer"), [("framework", "delta_ft_ns"), ("library", "delta_ct_ns")])
def test_injected_time_is_found_in_its_layer_within_the_interval(analysed, phase: str, layer: str) -> None:
    result = analysed("inject")
    found = compare([result], [result], [f"base={phase}"]).phases[0]
    assert figure(found, "wall_ns").word == "worse"
    assert found.where.metric == layer
    change = figure(found, layer)
    # 200 products a step, 50 us before or inside each
    assert change.low <= 10e6 <= change.high
    assert change.word == "worse"
    other = "delta_ct_ns" if layer == "delta_ft_ns" else "delta_ft_ns"
    assert figure(found, other).word == "no difference shown"
    assert figure(found, "kernels").word == "no difference shown"
    back = compare([result], [result], [f"{phase}=base"]).phases[0]
    assert figure(back, "wall_ns").word == "better"
    assert back.where.metric == layer


def test_a_report_against_itself_shows_no_difference(analysed) -> None:
    result = analysed("llama-1b-sampled")
    comparison = compare([result], [result])
    assert comparison.conditions == []
    for phase in comparison.phases:
        assert {change.difference for change in phase.changes} == {0.0}
        assert {change.word for change in phase.changes} <= {"no difference shown", "one instance: no interval"}
        assert phase.moved == []


def test_other_tracing_is_no_regression_of_the_model(analysed) -> None:
    comparison = compare([analysed("llama-1b-bare")], [analysed("llama-1b-aten")])
    assert not comparison.host_comparable
    assert {told.name for told in comparison.conditions} >= {"operator ranges", "traced"}
    words = {change.metric: change.word for change in comparison.phases[-1].changes}
    assert {words[name] for name in ("wall_ns", "framework_library_ns", "hdbi")} == {"not comparable"}
    # device work is the same, and may be compared
    assert words["device_active_ns"] == "no difference shown"
    # evidence differs: only the sum of the two layers is there
    assert not {"delta_ft_ns", "delta_ct_ns"} & set(words)


def test_graphs_traced_by_node_and_as_a_whole_are_no_change_of_the_program(analysed) -> None:
    """One step, the same nsys and trace set: only the nodes of its graph are traced in one of them."""
    comparison = compare([analysed("graph-node")], [analysed("graph-graph")])
    by_phase = {phase.before: phase for phase in comparison.phases}
    words = {change.metric: change.word for change in by_phase["decode_graph"].changes}
    assert words["launch_ns"] == words["wall_ns"] == "not comparable"
    assert "kernels" not in words
    assert [told.name for told in comparison.conditions] == ["CUDA graphs of decode_graph"]
    # the step without graphs is traced alike in both
    eager = {change.metric: change.word for change in by_phase["decode_eager"].changes}
    assert "not comparable" not in eager.values()
    assert eager["kernels"] == "no difference shown"
    # adopting graphs is a change of the program
    adopted = compare([analysed("graph-node")], [analysed("graph-node")], ["decode_eager=decode_graph"])
    assert adopted.conditions == []
    assert figure(adopted.phases[0], "wall_ns").word == "better"


def test_several_reports_a_side_pool_their_instances(analysed) -> None:
    result = analysed("inject")
    comparison = compare([result, result], [result], ["base=base"])
    assert comparison.phases[0].instances == (6, 3)


def test_a_single_instance_has_no_interval(analysed) -> None:
    result = analysed("llama-1b")
    prefill = compare([result], [result], ["prefill=decode"]).phases[0]
    wall = figure(prefill, "wall_ns")
    assert (wall.low, wall.high, wall.word) == (None, None, "one instance: no interval")


def test_other_machines_and_versions_are_said_first(analysed) -> None:
    before = analysed("inject")
    other = dataclasses.replace(before.report, gpu="another", cpu="slower", nsys_version="1999.1")
    after = dataclasses.replace(before, report=other)
    comparison: Comparison = compare([before], [after])
    assert [told.name for told in comparison.conditions] == ["GPU", "CPU", "nsys version"]
    assert not comparison.host_comparable


def test_kernels_that_appeared_and_vanished(analysed) -> None:
    before: Result = analysed("inject")
    # the rest of a phase is a row as well, and no kernel
    names = {row["name"] for row in before.kernel_rows if row["phase"] == "base" and row["instances"]}
    gone = sorted(names)[0]
    rows = tuple(row | {"name": "new"} if row["name"] == gone else row for row in before.kernel_rows)
    found = moved([before], [dataclasses.replace(before, kernel_rows=rows)], ("base", "base"))
    assert {(row.name, row.what) for row in found if row.kind == "kernel"} == {(gone, "vanished"), ("new", "appeared")}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=12), st.lists(st.integers(0, 10**9), min_size=2, max_size=12)
)
def test_the_interval_lies_within_what_medians_can_be(one: list[int], other: list[int]) -> None:
    before, after = np.array(one, float), np.array(other, float)
    low, high = interval(before, after)
    assert min(other) - max(one) <= low <= high <= max(other) - min(one)
    assert (low, high) == interval(before, after)
    assert interval(before, before + 10**12)[0] > 0


VALUES = st.lists(st.integers(0, 10**9), min_size=2, max_size=12)


@settings(max_examples=25, deadline=None)
@given(VALUES, VALUES)
def test_no_bound_is_a_fall_below_zero(one: list[int], other: list[int]) -> None:
    before, after = np.array(one, float), np.array(other, float)
    median = sorted(one)[(len(one) - 1) // 2]
    low, high = possible_interval(before, after)
    assert -median <= low <= high
    plain = interval(before, after)
    if plain[0] >= -median:
        assert (low, high) == plain
    # a change that is shown by one is not denied by the other
    shown = plain[1] < 0 or plain[0] > 0
    assert shown == (high < 0 or low > 0)


def test_a_metric_that_falls_by_a_lot_falls_by_less_than_all_of_it(analysed) -> None:
    """Eager steps vary by more than their median; the interval of their difference was -169 to -71 %."""
    for phase in compare([analysed("vllm-eager")], [analysed("vllm-graph")]).phases:
        for change in phase.changes:
            if change.low is None:
                continue
            assert change.low >= -change.before
            assert (change.word in ("better", "less")) == (change.high < 0)
            assert (change.word == "no difference shown") == (change.low <= 0 <= change.high)
        if phase.before == "decode":
            wall = figure(phase, "wall_ns")
            assert wall.word == "better"
            assert -1 < wall.share(wall.low) < wall.share(wall.difference) < wall.share(wall.high) < 0


def test_nothing_in_common_is_one_line(analysed) -> None:
    with pytest.raises(TaxbreakError, match="no phase in common: before has prefill, decode, after has base"):
        compare([analysed("llama-1b")], [analysed("inject")])
    with pytest.raises(TaxbreakError, match="no phase 'nope' in the report before"):
        compare([analysed("inject")], [analysed("inject")], ["nope=base"])
    with pytest.raises(TaxbreakError, match="BEFORE=AFTER"):
        compare([analysed("inject")], [analysed("inject")], ["base"])


def test_the_command(report, tmp_path: Path) -> None:
    path = report("graph-graph")
    table = run(path, path)
    assert table.returncode == 0, table.stderr
    assert "no difference" in table.stdout
    data = json.loads(run(path, path, "-f", "json").stdout)
    assert data["schema"] == "taxbreak-diff/2"
    assert {phase["before"] for phase in data["phases"]} == {"decode_eager", "decode_graph"}
    empty = run(path, tmp_path)
    assert empty.returncode == 2
    assert empty.stderr.count("\n") == 1
    assert "holds no .sqlite export" in empty.stderr
