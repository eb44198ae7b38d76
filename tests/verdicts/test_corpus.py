"""The corpus of verdicts: small reports, each with the target, sentence and null that an expert expects.

Every new finding about a wrong verdict adds a case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.attribution.layers import hdbi_word
from taxbreak_nsys.replay.predicted_phase import Prediction
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase
from taxbreak_nsys.verdict.device_word import beside_hdbi, bound_word
from tests.support.simulated_program import (
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

Body = tuple[Instruction, ...]


@dataclass(frozen=True)
class Case:
    """A program and what its verdict must say; `target` None: no verdict."""

    name: str
    program: Body
    target: str | None
    says: tuple[str, ...]
    advises: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    """What neither sentence nor advice may hold."""


def steps(count: int, *body: Instruction, label: str = "decode") -> Body:
    return tuple(Step(f"{label}_{number}", body) for number in range(count))


def launches(count: int, us: int, python: int = 0, **how: object) -> Body:
    return tuple(part for _ in range(count) for part in (Python(python), Launch(us, **how)))  # type: ignore[arg-type]


CASES = (
    Case(
        # each step waits for the step before: the host runs ahead, the device is never idle
        "backlog across steps",
        steps(12, *launches(10, 100, python=50), Synchronise(leave=10)),
        "kernels",
        ("only less or faster device work shortens it", "halving kernel time would save"),
        never=("CUDA graphs",),
    ),
    Case(
        # a training loop's marks hold no wait at all: it comes in the last mark of each step
        "a phase without a wait of its own",
        tuple(
            part
            for _ in range(8)
            for part in (
                Step("forward", launches(10, 300, python=20)),
                Step("optimizer", (*launches(4, 300, python=20), Synchronise())),
            )
        ),
        "kernels",
        ("works for it for", "after its end", "halving kernel time would save"),
    ),
    Case(
        # as an engine does it: the tokens are copied on a stream of their own, after an event of the kernels' stream
        "a copy that follows the kernels' stream",
        steps(
            10, *launches(10, 300, python=20), Launch(4, copy=True, stream=8, after=7),
            Launch(4, copy=True, stream=8, after=7), Synchronise(leave=12),
        ),
        "kernels",
        ("only less or faster device work shortens it", "halving kernel time would save 5"),
    ),
    Case(
        "host-bound without evidence",
        steps(6, *launches(20, 5, python=60), Synchronise()),
        "framework_library",
        ("the report does not tell them apart: target not certain", "halving framework + library time would save"),
        advises=("CUDA graphs (1 per step) would save", "capture cuBLAS and cuDNN ranges"),
    ),
    Case(
        "library ranges hold most",
        steps(6, *(part for _ in range(20) for part in (Python(10), Library(60), Launch(5))), Synchronise()),
        "library",
        ("CUDA library translation", "halving library time would save"),
        advises=("cut library calls",),
    ),
    Case(
        "two levers that weigh alike",
        steps(6, *(part for _ in range(20) for part in (Python(41), Library(40), Launch(5))), Synchronise()),
        "framework",
        ("halving framework time would save", "halving library time nearly as much"),
        also=("library",),
    ),
    Case(
        "copies hold the device",
        steps(6, Python(20), Launch(30), *launches(6, 300, copy=True), Synchronise()),
        "copies",
        ("mostly with copies and sets", "halving copy time would save"),
        advises=("6 copies and sets per step hold the device", "pinned memory"),
    ),
    Case(
        "compiled, and CUDA graphs are there",
        steps(6, Python(900), Graph(20, 10, name="triton_poi_fused_mul_0"), Python(60), Synchronise()),
        "framework_library",
        ("halving framework + library time would save",),
        advises=("compiled already (Triton kernels)", "1 CUDA graph per step already there"),
        never=("launch less from Python: compilation",),
    ),
    Case(
        "most of the host's work follows the last launch",
        steps(6, Python(100), Launch(5), Synchronise(), Python(900)),
        "framework_library",
        ("halving framework + library time would save",),
        advises=("host time that leads to no kernel launch (90%)",),
        never=("launches of (no kernel launch)",),
    ),
    Case(
        "routing by data",
        steps(3, *(part for _ in range(40) for part in (*launches(3, 4, python=30), ReadBack()))),
        "framework_library",
        ("halving framework + library time would save",),
        advises=("not capturable: the host waits for the device 39 times per step",),
        never=("CUDA graphs (",),
    ),
    Case(
        "a thread that sleeps",
        steps(6, *(part for _ in range(20) for part in (Python(20), Sleep(100), Launch(5))), Synchronise()),
        "framework_library",
        ("waits in the operating system for 80% of the phase", "no lever shortens", "Besides, framework and library"),
    ),
    Case(
        "nothing but sleep",
        steps(6, Sleep(30_000), Launch(5), Synchronise()),
        "os_wait",
        ("waits in the operating system for 100% of the phase", "halving no single layer saves as much as 1%"),
        advises=("find out what it waits for",),
    ),
    Case(
        "modules loaded in the phase",
        steps(2, *(part for _ in range(6) for part in (Load(2_000), Python(30), Launch(5))), Synchronise()),
        "module_load",
        ("module loading keeps the device idle for", "halving module loading would save"),
        advises=("warm up before capturing",),
        never=("CUDA graphs",),
    ),
    Case(
        "many launches of little",
        steps(6, *launches(60, 2, python=1, call=12), Synchronise()),
        "launch",
        ("the kernel launch path keeps the device idle", "halving launch call time would save"),
        advises=("60 kernel launches per step; most launched: elementwise (100%)",),
    ),
    Case(
        # HDBI counts T_sys per launch: 200 us of kernels against 85 us of host would be device-bound
        "the call that launches a graph holds the step",
        steps(6, Python(50), Graph(20, 10, call=1500), Python(30), Synchronise()),
        "launch",
        ("the kernel launch path keeps the device idle", "halving launch call time would save"),
        advises=("1 graph launch per step", "the launch of a CUDA graph takes 1.500 ms", "--cuda-graph-trace=graph"),
        never=("before and after the graph launch", "launch less from Python"),
    ),
    Case("graphs that were not traced", steps(4, Python(50), Graph(9, 5, traced=False), Synchronise(), Launch(1)),
         None, ("--cuda-graph-trace=node",)),
    Case("a graph launch whose rows are lost",
         (*steps(11, Python(50), Graph(9, 5), Synchronise()),
          Step("decode_11", (Graph(9, 5, traced=False), Launch(1)))),
         None,
         ("1 of 12 CUDA graph launches has no device row: nsys lost it", "leave that step out with --start/--end"),
         never=("--cuda-graph-trace",)),
    Case("no launch in the phase", (*steps(1, Launch(5), Synchronise()), Step("tokenize", (Python(50),)),
                                    Step("copy", (Launch(5, copy=True),))),
         None, ("no kernel or graph launch in the phase",)),
)  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def judged(case: Case, folder: Path) -> tuple[Result, Phase]:
    """Return the result of a case's report, and the phase that the case is about: the last without a verdict."""
    result = analyze(Simulation().run(case.program).write(folder / "case.sqlite"))
    return result, (result.entries[-1] if case.target is None else result.entries[0])


def test_the_expert_agrees(case: Case, tmp_path: Path) -> None:
    _, entry = judged(case, tmp_path)
    verdict = entry.verdict
    assert (verdict.target, verdict.also) == (case.target, case.also), verdict
    for words in case.says:
        assert words in verdict.why
    for words in case.advises:
        assert words in (verdict.advice or "")
    for words in case.never:
        assert words not in f"{verdict.why} {verdict.advice}"
    if case.target is None:
        assert set(verdict.savings.values()) == {None}
        assert verdict.savings_reason == verdict.why


def test_the_verdict_agrees_with_a_simulation_of_the_changed_program(case: Case, tmp_path: Path) -> None:
    """Half of a layer in the program itself, not in its report: the time to completion of all of it."""
    result, entry = judged(case, tmp_path)
    if entry.verdict.savings_reason is not None:
        return
    replay = Replay(result)
    before = Simulation().run(case.program)
    both = {"python": 0.5, "library": 0.5}
    apart: list[tuple[dict[str, float], dict[str, float]]] = [
        ({"framework": 0.5, "library": 0.5}, both),
        ({"kernels": 0.5}, {"kernels": 0.5}),
        ({"copies": 0.5}, {"copies": 0.5}),
    ]
    for factors, truth in apart:
        after = Simulation(**truth).run(case.program)
        saved_us = before.completed - after.completed
        predicted = replay.predict(Scenario(**factors))
        saved_ns = sum((p.completion_ns or 0) - (p.predicted_completion_ns or 0) for p in predicted if p.thread)
        assert saved_ns / 1000 == pytest.approx(saved_us, abs=0.02 * before.completed), factors


def test_the_step_of_a_lost_graph_can_be_left_out(tmp_path: Path) -> None:
    """The warning names the step and its times; what it advises gives the figures of the other steps."""
    case = next(one for one in CASES if one.name == "a graph launch whose rows are lost")
    result, _ = judged(case, tmp_path)
    codes = {warning.code: warning for warning in result.report.warnings}
    assert "unmeasured_graphs" not in codes
    instances = result.instances
    last = f"decode: 1 of 12, number 12, {instances.start[11]} to {instances.end[11]} ns"
    assert last in codes["graph_rows_lost"].message
    rest = analyze(tmp_path / "case.sqlite", window_ns=(0, int(instances.start[11]))).phase("decode")
    assert (rest.instances, rest.launches.unmeasured_graph) == (11, 0)
    # 9 kernels of 5 us per step
    assert rest.device.kernel_sum_ns == 11 * 9 * 5_000
    assert rest.taxbreak.hdbi is not None


def predicted(name: str, folder: Path, scenario: Scenario) -> tuple[Phase, Prediction]:
    case = next(one for one in CASES if one.name == name)
    result, entry = judged(case, folder)
    return entry, Replay(result).predict(scenario)[0]


def test_graphs_keep_sleeps(tmp_path: Path) -> None:
    entry, one = predicted("a thread that sleeps", tmp_path, Scenario(graphs=True))
    assert one.graphs == entry.instances
    assert one.predicted_wall_ns >= entry.states_ns["os_wait"]
    # all that goes is Python and launch calls
    most = entry.states_ns["python"] + entry.states_ns["launch"]
    assert one.wall_ns - one.predicted_wall_ns <= most


def test_graphs_do_not_win_the_profilers_time(tmp_path: Path) -> None:
    def saved(*extra: Instruction) -> float | None:
        program = steps(4, *(part for _ in range(10) for part in (Python(50), *extra, Launch(5))), Synchronise())
        path = Simulation().run(program).write(tmp_path / f"{len(extra)}.sqlite")
        return Replay(analyze(path)).predict(Scenario(graphs=True))[0].saved_share

    assert saved(Profiler(200)) == pytest.approx(saved(), abs=0.01)


def test_time_of_the_profiler_that_the_device_hides_is_no_loss_by_graphs(tmp_path: Path) -> None:
    """The device works for 3 ms per step whatever the host does: neither graphs nor the profiler's time change that."""
    busy = tuple(part for _ in range(10) for part in (Python(20), Profiler(100), Launch(300)))
    path = Simulation().run(steps(4, *busy, Synchronise())).write(tmp_path / "hidden.sqlite")
    (one,) = Replay(analyze(path)).predict(Scenario(graphs=True))
    assert one.left_out_ns == 4 * 10 * 100_000
    assert one.saved_share == pytest.approx(0, abs=0.02)
    assert one.saved_share > -0.0005


def test_graphs_end_at_a_wait_and_not_at_a_full_queue(tmp_path: Path) -> None:
    waits = (*launches(5, 4, python=30), Synchronise(), *launches(5, 4, python=30), Synchronise())
    path = Simulation().run(steps(3, *waits)).write(tmp_path / "waits.sqlite")
    one = Replay(analyze(path)).predict(Scenario(graphs=True))[0]
    assert (one.graphs_per_step, one.breaks) == (2, 3)


def test_a_faster_cpu_lowers_the_launch_floor_too(tmp_path: Path) -> None:
    entry, one = predicted("many launches of little", tmp_path, Scenario(cpu=2))
    layers = entry.taxbreak
    half = (layers.delta_ft_ns + layers.delta_kt_ns) / 2
    assert one.predicted_hdbi == pytest.approx(layers.t_device_active_ns / (layers.t_device_active_ns + half), rel=0.01)


def test_the_word_follows_copies_that_hold_the_device(tmp_path: Path) -> None:
    entry, _ = predicted("copies hold the device", tmp_path, Scenario())
    assert entry.taxbreak.hdbi < 0.65
    assert bound_word(entry) == "copy-bound"
    assert "copies and sets keep the device busy" in (beside_hdbi(entry) or "")


def test_a_device_that_idles_is_not_called_device_bound(tmp_path: Path) -> None:
    entry, _ = predicted("the call that launches a graph holds the step", tmp_path, Scenario())
    assert entry.taxbreak.hdbi > 0.65
    assert entry.device.busy_share < 0.2
    assert bound_word(entry) == "host-bound"
    # 6 calls of 1500 us, less T_sys each
    excess = 6 * 1500 - 6 * 4.5
    said = f"HDBI leaves out {excess / 1000:.3f} ms of launch calls beyond T_sys"
    assert said in (beside_hdbi(entry) or "")


def test_advice_names_python_outside_operators(analysed: Callable[[str], Result]) -> None:
    advice = analysed("inject").phase("framework").verdict.advice or ""
    assert "largest part of it: Python outside operators" in advice
    assert "(no operator)" not in advice


def test_no_word_about_copies_where_kernels_hold_it(tmp_path: Path) -> None:
    entry, _ = predicted("backlog across steps", tmp_path, Scenario())
    assert bound_word(entry) == hdbi_word(entry.taxbreak.hdbi)
    assert beside_hdbi(entry) is None


def test_a_rank_that_waits_for_a_slower_one_is_not_device_bound(analysed: Callable[[str], Result]) -> None:
    entries = {entry.process: entry for entry in analysed("vllm-tp2").entries if entry.phase == "decode"}
    slow, waiting, group = entries[1003], entries[1007], entries[None]
    assert waiting.verdict.target == "comm_wait"
    assert "waits in collectives for slower ranks" in waiting.verdict.why
    assert max(share or 0.0 for share in waiting.verdict.savings.values()) < 0.01
    assert slow.verdict.target == group.verdict.target == "framework"
    assert group.verdict.savings == slow.verdict.savings


@pytest.mark.parametrize(
    ("name", "phase", "target"),
    [
        ("inject", "device", "kernels"),
        ("inject", "framework", "framework"),
        ("inject", "library", "library"),
        ("llama-3b-batch16", "prefill", "kernels"),
        ("public-2gpu-training", "all", "copies"),
        ("graph-node", "decode_graph", "kernels"),
        ("olmoe", "decode", "framework"),
        ("llama-1b-bare", "decode", "framework_library"),
        ("vllm-graph", "decode", "framework_library"),
        ("vllm-eager", "decode", "framework_library"),
    ],
)
def test_real_reports(analysed: Callable[[str], Result], name: str, phase: str, target: str) -> None:
    assert analysed(name).phase(phase).verdict.target == target


def test_routing_by_data_is_not_capturable(analysed: Callable[[str], Result]) -> None:
    verdict = analysed("olmoe").phase("decode").verdict
    assert "not capturable" in (verdict.advice or "")
    assert "--graphs" not in (verdict.command or "")
