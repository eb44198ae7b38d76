"""The replay: exact where nothing changes, the same as a slow twin where something does, and never perverse."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxbreak_nsys import Result, TaxbreakError, analyze
from taxbreak_nsys.arrays.intervals import union
from taxbreak_nsys.replay.followers import Followers
from taxbreak_nsys.replay.levers import DEVICE_LEVERS, LIMITLESS
from taxbreak_nsys.replay.predicted_phase import Key, Prediction, key
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.replay.simulate import replay
from taxbreak_nsys.replay.sweep import LeverPoint, rank_levers, speeds_to_bound
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.typical_delays import Typical
from taxbreak_nsys.replay.waits import Waits
from taxbreak_nsys.replay.work import NEVER, Work, WorkOps
from taxbreak_nsys.verdict.best_lever import WORTH
from tests.oracle import slow_replay
from tests.support.reports import analysed_once, columns_of, find_report

GRAPH_STEP_MS = {"traced lightly": 1.36, "without a profiler": 1.298}
"""Wall of one step as a CUDA graph: of decode_graph in graph-graph, and of an un-profiled run."""

SCENARIOS = {
    "no framework": Scenario(framework=0, library=0),
    "no launch calls": Scenario(launch=0),
    "half the kernels": Scenario(kernels=0.5),
    "no copies": Scenario(copies=0),
    "limitless cpu": Scenario(cpu=LIMITLESS),
    "graphs": Scenario(graphs=True),
    "no host work": Scenario(framework=0, library=0, launch=0, copy_calls=0, module_load=0),
}

LOST_KERNELS = ("public-2gpu-training",)
"""Reports in which kernels are missing: what waited for those shows as delays that nothing explains."""


def ints(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@st.composite
def models(draw: st.DrawFn) -> ThreadModel:
    """Any thread: pieces of host time, some of them waits, and device work on up to three lanes."""
    pieces = draw(st.lists(st.integers(1, 50), min_size=1, max_size=12))
    knots = ints([0, *np.cumsum(pieces)])
    is_wait = draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    wait = [k for k in range(len(pieces)) if is_wait[k]]
    wait_start, wait_end = knots[wait], knots[ints([k + 1 for k in wait])] if wait else ints([])
    columns: list[list[int]] = []
    for lane in range(draw(st.integers(0, 3))):
        moments = sorted(draw(st.lists(st.integers(0, int(knots[-1])), max_size=6)))
        before = draw(st.sampled_from([NEVER, -3, 10]))
        for number, moment in enumerate(moments):
            inside = [int(s) for s, e in zip(wait_start, wait_end, strict=True) if s < moment < e]
            busy, fixed = draw(st.integers(0, 40)), draw(st.integers(0, 9))
            latency, gap = draw(st.integers(0, 20)), draw(st.integers(0, 9))
            after, met = draw(st.integers(0, busy)), draw(st.sampled_from([NEVER, NEVER, moment, moment + 60]))
            columns.append(
                [lane, inside[0] if inside else moment, busy, fixed, latency, gap, number == 0, before, after, met]
            )
    lane, anchor, busy, fixed, latency, gap, first, before, after, met = (
        ints(list(c)) for c in (zip(*columns, strict=True) if columns else [[]] * 10)
    )
    possible = [(j, k) for j in range(len(lane)) for k in range(len(lane)) if lane[j] != lane[k]]
    chosen = dict(draw(st.lists(st.sampled_from(possible), max_size=3))) if possible else {}
    chosen = {j: k for j, k in chosen.items() if k not in chosen}
    followers = Followers(
        ints(sorted(chosen)), ints([chosen[j] for j in sorted(chosen)]), ints([draw(st.integers(0, 9)) for _ in chosen])
    )
    needs = []
    for k, start in enumerate(wait_start.tolist()):
        ready = [j for j in range(len(lane)) if anchor[j] <= start and j not in chosen]
        needs += [(k, j, draw(st.integers(0, 9))) for j in ready if draw(st.booleans())]
    need = [ints(list(c)) for c in (zip(*needs, strict=True) if needs else [[]] * 3)]
    floors = ints([draw(st.integers(0, 9)) for _ in wait])
    count = len(lane)
    flags = np.ones(count, bool)
    work = Work(
        launch=np.arange(count), lane=lane, called=anchor, returned=anchor, start=np.zeros(count, np.int64),
        end=busy + fixed, busy=busy, busy_after=after, met=met, computes=flags, first=first.astype(bool),
        previous_end=np.where(first == 1, before, 0), own=flags,
    )  # fmt: skip
    zeros = np.zeros(count, np.int64)
    ops = WorkOps(np.arange(count), np.arange(count), zeros, zeros, busy, fixed)
    typical = Typical(5, 1, "", 1, "")
    waits = Waits(wait_start, wait_end, floors, *need, np.zeros(len(wait), bool))
    return ThreadModel(
        0, 0, knots, np.zeros(len(pieces), np.int64), waits, work, ops,
        anchor, latency, gap, flags, followers, typical,
    )  # fmt: skip


def factors(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0]), min_size=count, max_size=count)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_same_moments_as_the_slow_twin(data: st.DataObject) -> None:
    model = data.draw(models())
    host, scale = data.draw(factors(len(model.piece_interval))), data.draw(factors(len(model.work)))
    fast = replay(model, np.array(host), np.array(scale))
    times, items = slow_replay.replay(model, host, scale)
    assert fast.times.tolist() == pytest.approx(times)
    assert fast.op_start.tolist() == pytest.approx([start for start, _ in items])
    assert fast.op_end.tolist() == pytest.approx([end for _, end in items])


def test_a_lane_that_begins_with_a_follower() -> None:
    """The follower has no time of its own before the end: the gap of the next item does not count from it."""
    lane, gap, flags, zeros = ints([0, 0, 1]), ints([0, 2, 0]), np.ones(3, bool), np.zeros(3, np.int64)
    no_wait = ints([])
    work = Work(
        launch=np.arange(3), lane=lane, called=zeros, returned=zeros, start=zeros, end=zeros, busy=zeros,
        busy_after=zeros, met=ints([NEVER] * 3), computes=flags, first=np.array([True, False, True]),
        previous_end=ints([NEVER, 0, NEVER]), own=flags,
    )  # fmt: skip
    model = ThreadModel(
        0, 0, ints([0, 9]), ints([0]), Waits(*[no_wait] * 6, np.zeros(0, bool)), work,
        WorkOps(np.arange(3), np.arange(3), zeros, zeros, zeros, zeros), zeros, zeros, gap, flags,
        Followers(ints([0]), ints([2]), ints([0])), Typical(5, 1, "", 1, ""),
    )  # fmt: skip
    fast = replay(model, np.ones(1), np.ones(3))
    _, items = slow_replay.replay(model, [1.0], [1.0] * 3)
    assert fast.op_start.tolist() == [start for start, _ in items] == [0, 0, 0]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_less_time_anywhere_never_makes_anything_later(data: st.DataObject) -> None:
    model = data.draw(models())
    host, scale = data.draw(factors(len(model.piece_interval))), data.draw(factors(len(model.work)))
    less = data.draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    where = data.draw(st.integers(0, len(host) + len(scale) - 1))
    faster = [factor * less if where == number else factor for number, factor in enumerate([*host, *scale])]
    slow = replay(model, np.array(host), np.array(scale))
    fast = replay(model, np.array(faster[: len(host)]), np.array(faster[len(host) :]))
    assert np.all(fast.times <= slow.times + 1e-6)
    assert np.all(fast.op_end <= slow.op_end + 1e-6)


@cache
def _replay(name: str) -> Replay:
    return Replay(analysed_once(find_report(name)))


@pytest.fixture
def replays():
    return _replay


def of_phase(predictions: tuple[Prediction, ...], phase: str) -> Prediction:
    return next(p for p in predictions if p.phase == phase)


def test_unchanged_gives_back_every_measured_moment(any_report: Path) -> None:
    result = analyze(any_report)
    model_of = Replay(result)
    predicted = 0
    for entry, one in zip(result.entries, model_of.predict(Scenario()), strict=True):
        if entry.launches.unmeasured_graph:
            assert one.predicted_wall_ns is None
            assert "--cuda-graph-trace=node" in one.reason
            continue
        predicted += 1
        assert one.predicted_wall_ns == entry.wall_ns
        assert one.predicted_wall_median_ns == entry.wall_median_ns
        assert one.predicted_idle_ns == entry.device.idle_ns
        assert one.predicted_hdbi == pytest.approx(entry.taxbreak.hdbi)
        assert one.unchanged_error == 0
        comm_wait = entry.communication.comm_wait_ns if entry.communication else None
        waits_for_ranks = 10 * (comm_wait or 0) > entry.wall_ns
        if any_report.stem not in LOST_KERNELS and not waits_for_ranks:
            # the model's own knowledge, without each measured delay: 3 % host-bound, 5 % device-bound
            assert abs(one.loose_error) < (0.05 if entry.verdict.target in DEVICE_LEVERS else 0.03)
    assert predicted


@pytest.mark.parametrize("name", ["graph-node", "graph-graph"])
@pytest.mark.parametrize("measured", GRAPH_STEP_MS.values(), ids=GRAPH_STEP_MS)
def test_graphs_predict_the_step_that_was_captured_as_a_graph(replays, name: str, measured: float) -> None:
    eager = of_phase(replays(name).predict(Scenario(graphs=True)), "decode_eager")
    assert eager.graphs == eager.instances
    assert eager.predicted_wall_median_ns / 1e6 == pytest.approx(measured, rel=0.15)


def test_graphs_predict_the_step_of_an_engine_that_has_them(replays, analysed) -> None:
    eager = of_phase(replays("vllm-eager").predict(Scenario(graphs=True)), "decode")
    captured = analysed("vllm-graph").phase("decode")
    assert eager.wall_median_ns > 3 * captured.wall_median_ns
    # nsys traced every node of the captured graphs, which makes their launch longer
    assert eager.predicted_wall_median_ns == pytest.approx(captured.wall_median_ns, rel=0.3)


def test_taking_the_injected_time_away_predicts_the_base(replays, analysed) -> None:
    base = analysed("inject").phase("base")
    less = Scenario(framework_minus_ns=50_000, before="nvjet|gemm|cutlass")
    predicted = of_phase(replays("inject").predict(less), "framework")
    assert predicted.predicted_wall_median_ns == pytest.approx(base.wall_median_ns, rel=0.15)
    assert predicted.predicted_hdbi == pytest.approx(base.taxbreak.hdbi, rel=0.15)
    # the injected library time, as a factor: base has 2.8 ms a step where library has 12.9
    library = analysed("inject").phase("library")
    factor = base.states_ns["library"] / library.states_ns["library"]
    removed = of_phase(replays("inject").predict(Scenario(library=factor)), "library")
    assert removed.predicted_wall_median_ns == pytest.approx(base.wall_median_ns, rel=0.15)


@pytest.mark.parametrize(("name", "phase"), [("inject", "device"), ("llama-3b-batch16", "prefill")])
@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0, 1))
def test_device_bound_phases_do_not_react_to_host_layers(name: str, phase: str, factor: float) -> None:
    host = of_phase(_replay(name).predict(Scenario(framework=factor, library=factor)), phase)
    assert abs(host.saved_share) < 0.02


@pytest.mark.parametrize("name", ["olmoe", "llama-3b-batch16", "graph-node", "public-2gpu-training"])
@settings(max_examples=10, deadline=None)
@given(low=st.floats(0, 1), high=st.floats(0, 1), lever=st.sampled_from(["launch", "kernels", "copies", "framework"]))
def test_a_faster_layer_never_lengthens_the_wall(name: str, low: float, high: float, lever: str) -> None:
    model_of = _replay(name)
    low, high = sorted((low, high))
    # framework and library together: some phases do not tell the two apart
    both = (lambda f: {"framework": f, "library": f}) if lever == "framework" else (lambda f: {lever: f})
    predicted = [model_of.predict(Scenario(**both(factor))) for factor in (low, high)]
    for fast, slow in zip(*predicted, strict=True):
        # a nanosecond an instance: predictions are rounded to whole ones
        assert fast.predicted_wall_ns <= slow.predicted_wall_ns + 2 * fast.instances


def test_halves_lie_between_nothing_and_all(replays) -> None:
    points = rank_levers(replays("llama-1b"))
    assert {p.lever for p in points} >= {"framework", "library", "launch", "kernels"}
    assert "framework_library" not in {p.lever for p in points}
    gone_of = {(p.lever, p.prediction.phase): p for p in points if p.factor == 0}
    for half in (p for p in points if p.factor == 0.5):
        gone = gone_of[half.lever, half.prediction.phase]
        assert 0 <= half.prediction.saved_share <= gone.prediction.saved_share <= 1


def test_a_cpu_makes_a_light_phase_device_bound_and_not_a_heavy_one(replays) -> None:
    speeds = {key[0]: speed for key, speed in speeds_to_bound(replays("inject")).items()}
    assert speeds["device"] == 1
    # it sleeps in the OS: no CPU wakes it
    assert speeds["blocked"] is None


def test_layers_that_are_not_told_apart_are_not_scaled_apart(replays) -> None:
    one = of_phase(replays("llama-1b-bare").predict(Scenario(framework=0.5)), "decode")
    assert one.predicted_wall_ns is None
    assert "evidence none" in one.reason
    both = of_phase(replays("llama-1b-bare").predict(Scenario(framework=0.5, library=0.5)), "decode")
    assert 0.3 < both.saved_share < 0.5


def test_the_verdict_is_the_best_lever_of_the_ranking(any_report: Path) -> None:
    result = analyze(any_report)
    ranked: dict[Key, list[LeverPoint]] = {}
    for point in rank_levers(Replay(result)):
        if point.factor == 0.5:
            ranked.setdefault(key(point.prediction), []).append(point)
    for entry in result.entries:
        verdict = entry.verdict
        if verdict.savings_reason is not None:
            assert verdict.target is None
            assert set(verdict.savings.values()) == {None}
            continue
        shares = [point.prediction.saved_share for point in ranked[key(entry)]]
        assert shares == sorted(shares, reverse=True)
        assert {p.lever: p.prediction.saved_share for p in ranked[key(entry)]} == {
            name: share for name, share in verdict.savings.items() if share is not None
        }
        if shares[0] >= WORTH:
            assert verdict.target == ranked[key(entry)][0].lever
            near = [p.lever for p, share in zip(ranked[key(entry)], shares, strict=True) if share >= 0.9 * shares[0]]
            assert (verdict.target, *verdict.also) == tuple(near)
            assert "halving" in verdict.why


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_no_forecast_is_below_the_busiest_stream_or_the_os_waits(any_report: Path, scenario: Scenario) -> None:
    result = analysed_once(any_report)
    columns = columns_of(result)
    ops, op_instance, wait = columns.trace.ops, columns.op_instance, columns.communication.wait
    for entry, one in zip(result.entries, Replay(result).predict(scenario), strict=True):
        if one.reason is not None or entry.combined:
            continue
        instances = columns.instances
        of_phase = np.flatnonzero(
            (instances.label == instances.labels.index(entry.phase)) & ((instances.thread & 0xFFFFFF) == entry.thread)
            & (((instances.thread >> 24) & 0xFFFFFF) == entry.process)
        )  # fmt: skip
        own = np.isin(op_instance, of_phase)
        factor = np.where(ops.computes, scenario.kernels, scenario.copies)
        for stream in np.unique(ops.stream[own]).tolist():
            on = own & (ops.stream == stream)
            start, end = union((ops.start + wait)[on], ops.end[on])
            measured = int((end - start).sum())
            busy = min(int(((ops.end - ops.start - wait) * factor)[on].sum()), measured)
            # a nanosecond per operation: replayed moments are rounded
            assert one.predicted_wall_ns >= min(busy, entry.wall_ns) - int(on.sum()), entry.phase
        assert one.predicted_wall_ns >= entry.states_ns["os_wait"]


def test_figures_have_a_column_each_whatever_the_first_phase(analysed) -> None:
    # the first phase of multi has no launch and no HDBI; the frame takes its columns from the first row
    frame = analysed("multi").phases
    assert frame["hdbi"].notna().any()
    assert frame["hdbi"].isna().any()


def test_verdicts_agree_with_what_was_injected(analysed) -> None:
    def best(result: Result, phase: str) -> str:
        savings = result.phase(phase).verdict.savings
        return max(savings, key=lambda name: savings[name] or 0)

    injected = analysed("inject")
    assert best(injected, "framework") == "framework"
    assert best(injected, "library") == "library"
    assert best(injected, "device") == "kernels"


@pytest.mark.parametrize("wrong", [{"framework": -1}, {"kernels": float("nan")}, {"cpu": 0}, {"cpu": float("inf")}])
def test_wrong_factors_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TaxbreakError, match=f"--{next(iter(wrong))}"):
        Scenario(**wrong)
