"""What fusing runs of kernels saves by the replay, against simulations of the fused program."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taxbreak_nsys import Result
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.options import Options
from taxbreak_nsys.output.detail_tables import table_notes
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.replay import fusion_savings, stretches
from taxbreak_nsys.replay.prediction import Replay
from tests.support.simulated_program import (
    THREAD,
    Graph,
    Instruction,
    Launch,
    Library,
    Load,
    Profiler,
    Python,
    ReadBack,
    Simulation,
    Sleep,
    Step,
    Synchronise,
)

FUSION = Options(tables=frozenset({"fusion"}))
GEMM = "gemm_kernel"

Block = tuple[tuple[Instruction, ...], int, int]
"""Instructions between the launches of a run, its number of kernels, and what one takes, us."""


def launches(block: Block) -> list[Instruction]:
    """Return a run of kernels as the program launches them."""
    between, kernels, us = block
    return [Launch(us), *([*between, Launch(us)] * (kernels - 1))]


def fused(block: Block) -> list[Instruction]:
    """Return the same run launched by one call: only what no fusion removes stays between."""
    between, kernels, us = block
    stays = [one for one in between if isinstance(one, Sleep | Profiler | Load)]
    return [Launch(us), *[Launch(us, call=0)] * (kernels - 1), *stays * (kernels - 1)]


def host_bound(steps: int, *, as_one: bool) -> list[Instruction]:
    """Return steps in which the device waits for every launch: two kernels, then a large one."""
    block: Block = ((Python(20), Library(4)), 3, 2)
    body = (Python(60), *(fused(block) if as_one else launches(block)), Python(40), Launch(9, GEMM))
    return [Step(f"decode_{number}", body) for number in range(steps)]


def rows_of(run: Simulation, folder: Path) -> tuple[Result, list[dict[str, Any]]]:
    result = analyze_report(run.write(folder / "run.sqlite"), FUSION)
    return result, list(result.details.fusion or ())


def test_a_host_bound_loop_saves_what_the_fused_program_saves(tmp_path: Path) -> None:
    before = Simulation().run(host_bound(20, as_one=False))
    after = Simulation().run(host_bound(20, as_one=True))
    result, rows = rows_of(before, tmp_path)
    (row,) = rows
    truth = round((before.completed - after.completed) * 1000)
    # 2 x (20 + 4 + 5) us of host time per step
    assert truth == 20 * 58_000
    assert row["replay_saved_ns"] == truth
    assert row["replay_saved_per_step_ns"] == 58_000
    (entry,) = result.entries
    assert row["replay_share"] == pytest.approx(truth / (before.completed * 1000), abs=0.001)
    assert (row["replayed_runs"], row["replay_reason"]) == (row["instances"], None)
    assert row["replay_saved_ns"] > row["saved_ns"]
    assert entry.verdict.target == "framework"


def test_a_device_that_never_pauses_gains_nothing(tmp_path: Path) -> None:
    run = ((), 4, 3)
    first: list[Instruction] = [Step("warmup", (*launches(run), Launch(300, GEMM)))]
    later = [Step(f"decode_{n}", (*launches(run), Launch(300, GEMM), Synchronise(leave=5))) for n in range(12)]
    _, rows = rows_of(Simulation().run([*first, *later]), tmp_path)
    decode = [row for row in rows if row["phase"] == "decode"]
    # the launch calls cross the gaps between kernels of the queue
    assert decode
    assert all(row["saved_ns"] > 0 for row in decode)
    assert [row["replay_saved_ns"] for row in decode] == [0] * len(decode)


def test_waits_in_the_os_inside_a_run_stay(tmp_path: Path) -> None:
    block: Block = ((Python(10), Sleep(50)), 2, 2)
    steps = [Step(f"decode_{n}", (Python(30), *launches(block), Python(30), Launch(9, GEMM))) for n in range(10)]
    _, (row,) = rows_of(Simulation().run(steps), tmp_path)
    # 10 us of Python and the call of 5 us
    assert row["replay_saved_ns"] == 10 * 15_000
    assert row["path_ns"] > 10 * 50_000


def test_kernels_of_a_run_are_done_before_a_later_wait(tmp_path: Path) -> None:
    """The work of the fused kernel begins with its first launch, also where the program sleeps between the launches."""
    block: Block = ((Sleep(50),), 3, 9)

    def steps(run: list[Instruction]) -> list[Instruction]:
        return [Step(f"decode_{n}", (Python(30), *run, Synchronise())) for n in range(10)]

    before, after = Simulation().run(steps(launches(block))), Simulation().run(steps(fused(block)))
    _, (row,) = rows_of(before, tmp_path)
    truth = round((before.completed - after.completed) * 1000)
    # two calls of 5 us; the wait of 1 + 9 + 2 us becomes a call that finds the device idle
    assert truth >= 10 * 10_000
    assert row["replay_saved_ns"] == pytest.approx(truth, abs=10 * 3_000)
    assert row["replay_saved_ns"] > 10 * 15_000


BETWEEN = st.lists(
    st.one_of(
        st.builds(Python, st.integers(0, 60)),
        st.builds(Library, st.integers(1, 30)),
        st.builds(Sleep, st.integers(1, 60)),
        st.builds(Profiler, st.integers(1, 40)),
    ),
    max_size=3,
).map(tuple)
AROUND = st.one_of(
    st.builds(Python, st.integers(0, 200)),
    st.builds(Launch, st.integers(1, 400), st.just(GEMM), stream=st.sampled_from([7, 8])),
    st.builds(Launch, st.integers(1, 200), copy=st.just(True)),
    st.builds(ReadBack, st.integers(1, 30)),
    st.builds(Sleep, st.integers(1, 200)),
    st.just(Synchronise()),
)
BLOCKS = st.tuples(BETWEEN, st.integers(2, 5), st.integers(1, 10))
STEPS = st.lists(st.lists(st.one_of(BLOCKS, AROUND), max_size=8), min_size=1, max_size=4)


def program(steps: list[list[Any]], *, as_one: bool) -> tuple[list[Instruction], list[tuple[int, int]]]:
    """Return marked steps, and the (number of the first launch, number of launches) of each run."""
    spans, count, marked = [], 0, []
    for number, parts in enumerate(steps):
        body: list[Instruction] = []
        for part in parts:
            if isinstance(part, tuple):
                spans.append((count, part[1]))
                body += fused(part) if as_one else launches(part)
                count += part[1]
            else:
                body.append(part)
                count += isinstance(part, Launch) and not part.copy
        body.append(Launch(3, GEMM))
        count += 1
        marked.append(Step(f"decode_{number}", (*body, *([Synchronise()] * (number == len(steps) - 1)))))
    return marked, spans


@settings(max_examples=60, deadline=None)
@example([[((Python(20),), 3, 2)]])
@example([[Launch(400, GEMM), ((Python(20),), 3, 2), Synchronise()], [((), 2, 9)]])
@given(STEPS)
def test_forecasts_are_what_a_simulation_of_the_fused_program_says(steps: list[list[Any]]) -> None:
    separate, spans = program(steps, as_one=False)
    before, after = Simulation().run(separate), Simulation().run(program(steps, as_one=True)[0])
    with tempfile.TemporaryDirectory() as folder:
        result = analyze_report(before.write(Path(folder) / "random.sqlite"))
    (entry,) = result.entries
    calls = [
        row for row in before.rows["CUPTI_ACTIVITY_KIND_RUNTIME"] if row[5] == before.strings["cudaLaunchKernel_v7000"]
    ]
    called = [row[0] for row in calls]
    rows = [(0, THREAD, called[first], called[first + kernels - 1]) for first, kernels in spans]
    prediction = Replay(result).predict_fused(entry, KernelRuns.of_rows(rows))  # type: ignore[arg-type]
    assert prediction.runs == len(spans)
    saved = prediction.saved_ns / 1000
    simulated = before.completed - after.completed
    tolerance = 1.0 * len(before.ends)
    assert 0 <= saved <= simulated + tolerance
    assert saved >= simulated - tolerance - second_stream(before)


def second_stream(run: Simulation) -> float:
    """How long the streams other than stream 7 work, us: no forecast of a phase is below its busiest stream."""
    rows = run.rows.get("CUPTI_ACTIVITY_KIND_KERNEL", ())
    return sum(row[1] - row[0] for row in rows if row[4] != 7) / 1000  # type: ignore[operator, misc]


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take reports of more than 100 launches for large."""
    monkeypatch.setattr(stretches, "WHOLE_LAUNCHES", 100)
    monkeypatch.setattr(stretches, "LEAST_LAUNCHES", 60)


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("rows", [150, 10**9])
def test_a_large_report_scales_the_stretch_to_all_runs(tmp_path: Path, rows: int) -> None:
    path = Simulation().run(host_bound(100, as_one=False)).write(tmp_path / "large.sqlite")
    result = analyze_report(path, FUSION, window_rows=rows)
    assert result.replay_part.windows is not None
    (row,) = result.details.fusion or ()
    assert 0 < row["replayed_runs"] < row["instances"] == 100
    assert row["replay_saved_ns"] == pytest.approx(100 * 58_000, rel=0.001)


@pytest.mark.usefixtures("small_budget")
def test_a_pattern_outside_the_stretch_has_no_forecast(tmp_path: Path) -> None:
    rare = Step("decode_100", (Python(400), Launch(2, "rare"), Python(20), Launch(2, "rare"), Launch(9, GEMM)))
    run = Simulation().run([*host_bound(100, as_one=False), rare])
    _, rows = rows_of(run, tmp_path)
    (row,) = (row for row in rows if row["pattern"] == "2 x rare")
    assert (row["replay_saved_ns"], row["replay_share"], row["replayed_runs"]) == (None, None, 0)
    assert row["replay_reason"] == "no run of the pattern lies in the replayed part of the report"


def test_only_the_most_promising_patterns_are_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_savings, "MOST_REPLAYED", 1)
    body: list[Instruction] = []
    for name, kernels in (("a", 2), ("b", 4), ("c", 3)):
        body += [Python(30), *[Launch(2, name)] * kernels, Launch(9, GEMM)]
    _, rows = rows_of(Simulation().run([Step("decode", tuple(body))]), tmp_path)
    assert [row["pattern"] for row in rows] == ["4 x b", "3 x c", "2 x a"]
    assert [row["replay_reason"] is None for row in rows] == [True, False, False]


def test_an_unmeasured_phase_says_why(tmp_path: Path) -> None:
    steps = host_bound(4, as_one=False)
    steps.append(Step("decode_4", (Python(10), Graph(3, 5, traced=False), Python(10), Synchronise())))
    result, rows = rows_of(Simulation().run(steps), tmp_path)
    assert result.entries[0].exposed_ns is None
    assert rows
    assert {row["replay_reason"] for row in rows} == {result.entries[0].taxbreak.hdbi_reason}
    assert {row["replay_saved_ns"] for row in rows} == {None}
    assert table_notes(result, "taxbreak_fusion_sum")[1:] == [
        f"Rows of decode without a forecast: {result.entries[0].taxbreak.hdbi_reason}."
    ]


def test_nothing_is_replayed_for_other_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("fused kernels replayed though no table asks for it")

    monkeypatch.setattr(Replay, "predict_fused", refuse)
    path = Simulation().run(host_bound(4, as_one=False)).write(tmp_path / "run.sqlite")
    result = analyze_report(path, Options(tables=frozenset({"classes"})))
    assert result.details.fusion is None
    with pytest.raises(AssertionError, match="fused kernels"):
        analyze_report(path, FUSION)


@pytest.mark.parametrize("name", ["llama-1b-aten", "vllm-eager", "vllm-graph", "vllm-tp2", "public-2gpu-training"])
def test_real_forecasts_lie_between_nothing_and_the_idle_time(report, name: str) -> None:
    result = analyze_report(report(name), FUSION)
    rows = [row for row in result.details.fusion or () if row["replay_saved_ns"] is not None]
    assert rows
    by_thread: dict[tuple[int, int], int] = {}
    for entry in result.entries:
        if entry.process is not None and entry.thread is not None and entry.device.idle_ns is not None:
            where = entry.process, entry.thread
            by_thread[where] = by_thread.get(where, 0) + entry.device.idle_ns
    for row in rows:
        assert 0 <= row["replay_saved_ns"] <= by_thread[row["process"], row["thread"]], row["pattern"]
        assert row["replayed_runs"] == row["instances"]
    order = [(row["phase"], row["process"], row["thread"], -row["replay_saved_ns"]) for row in rows]
    for before, after in pairwise(order):
        assert before[:3] != after[:3] or before[3] <= after[3]
