"""Evidence from CPU samples: against a slow twin, against what was injected, and against known shares."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys import Result, TaxbreakError, analyze
from taxbreak_nsys.measure.sample_hits import KINDS
from taxbreak_nsys.result import Phase
from taxbreak_nsys.totals.sampled_split import (
    SPLIT_STATES,
    Split,
    Stratum,
    apportion,
    library_interval,
    total_interval,
    wilson,
)
from tests.oracle import brute_samples

SAMPLED = ("inject", "llama-1b-sampled", "gpt2-backtrace")
PERIOD = 125_000


def copy_without(path: Path, folder: Path, *statements: str) -> Path:
    target = folder / path.name
    shutil.copy(path, target)
    os.chmod(target, 0o644)
    with sqlite3.connect(target) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return target


@pytest.mark.parametrize("switches", [True, False], ids=["switches", "period"])
@pytest.mark.parametrize("alone", [False, True], ids=["all", "alone"])
@pytest.mark.parametrize("name", SAMPLED)
def test_same_integers_as_the_twin(report, tmp_path: Path, name: str, alone: bool, switches: bool) -> None:
    path = report(name)
    if not switches:
        path = copy_without(path, tmp_path, "DROP TABLE SCHED_EVENTS")
    twin = brute_samples.analyze(path, PERIOD, KINDS, ignore_ranges=alone, with_switches=switches)
    result = analyze(path, evidence="samples" if alone else None)
    found = {(e.phase, e.thread): e for e in result.entries if not e.combined}
    assert {(phase, thread & 0xFFFFFF) for phase, thread in twin} == set(found)
    for (phase, thread), states in twin.items():
        entry = found[phase, thread & 0xFFFFFF]
        assert entry.samples.period_ns == PERIOD
        for state, held in states.items():
            ours = entry.samples.states[state]
            assert (ours.samples, ours.on_cpu_ns) == (held["samples"], held["on_cpu"]), state
            assert ours.kinds_ns == {kind: ns for kind, ns in held["ns"].items() if ns}, state
            assert ours.on_cpu_ns + ours.off_cpu_ns == entry.states_ns[state]
        if entry.taxbreak.evidence == "samples":
            assert (entry.taxbreak.delta_ft_ns, entry.taxbreak.delta_ct_ns) == brute_samples.layers(states)
            low, high = entry.taxbreak.library_interval_ns
            assert low <= entry.taxbreak.delta_ct_ns <= high


@pytest.fixture
def alone(report) -> Result:
    """The injection report by its samples, its ranges ignored."""
    return analyze(report("inject"), evidence="samples")


def a_step(result: Result, label: str) -> dict[str, float]:
    """Layers of a phase in ms a step, the profiler's own time left out of the launch path."""
    entry = result.phase(label)
    launch = entry.states_ns["launch"] - entry.samples.profiler_by_state_ns["launch"]
    figures = {"framework": entry.taxbreak.delta_ft_ns, "library": entry.taxbreak.delta_ct_ns, "launch": launch}
    return {name: ns / entry.instances / 1e6 for name, ns in figures.items()}


@pytest.mark.parametrize(("label", "layer"), [("framework", "framework"), ("library", "library")])
def test_injected_cost_comes_back_in_its_layer(alone: Result, label: str, layer: str) -> None:
    base, added = a_step(alone, "base"), a_step(alone, label)
    moved = {name: added[name] - base[name] for name in base}
    assert moved[layer] == pytest.approx(10, rel=0.25)
    # 300 samples a phase: nothing else moves by more than an interval of a layer is wide
    low, high = alone.phase(label).taxbreak.library_interval_ns
    width = (high - low) / alone.phase(label).instances / 1e6
    assert {name: ms for name, ms in moved.items() if name != layer and abs(ms) > width} == {}


@pytest.mark.parametrize("label", ["base", "framework", "library", "blocked", "device"])
def test_interval_meets_what_the_ranges_say(alone: Result, analysed, label: str) -> None:
    # the ranges' time has the profiler's in it, which samples leave out; how much that is has its own interval
    by_ranges = analysed("inject").phase(label)
    inside = by_ranges.samples.states["library"]
    least, most = wilson(inside.samples * inside.kinds_ns.get("profiler", 0) / inside.on_cpu_ns, inside.samples)
    total = by_ranges.states_ns["library"]
    low, high = alone.phase(label).taxbreak.library_interval_ns
    assert low <= total * (1 - least)
    assert total * (1 - most) <= high


def test_interval_of_what_was_added_holds_what_the_ranges_say(alone: Result, analysed) -> None:
    ranges = {label: analysed("inject").phase(label).taxbreak.delta_ct_ns for label in ("base", "library")}
    base, added = (alone.phase(label).taxbreak for label in ("base", "library"))
    moved = added.delta_ct_ns - base.delta_ct_ns
    below = np.hypot(added.delta_ct_ns - added.library_interval_ns[0], base.library_interval_ns[1] - base.delta_ct_ns)
    above = np.hypot(added.library_interval_ns[1] - added.delta_ct_ns, base.delta_ct_ns - base.library_interval_ns[0])
    assert moved - below <= ranges["library"] - ranges["base"] <= moved + above


def without_profiler(entry: Phase) -> int:
    """Framework and library without the profiler's samples, which delta_ft holds (method section 5)."""
    own = sum(entry.samples.profiler_by_state_ns[state] for state in SPLIT_STATES)
    return entry.taxbreak.delta_ft_ns + entry.taxbreak.delta_ct_ns - own


def test_sleep_is_in_no_layer_with_and_without_os_calls(report, tmp_path: Path) -> None:
    with_calls = analyze(report("inject"), evidence="samples").phase("blocked")
    assert with_calls.states_ns["os_wait"] > 3 * 10_000_000
    bare = copy_without(report("inject"), tmp_path, "DROP TABLE OSRT_API")
    without_calls = analyze(bare, evidence="samples").phase("blocked")
    assert without_calls.states_ns["os_wait"] == 0
    assert without_calls.samples.states["python"].off_cpu_ns > 3 * 10_000_000
    for entry in (with_calls, without_calls):
        # 200 sleeps of 50 us in each of 3 steps are in neither layer
        assert without_profiler(entry) < 30_000_000
    (tmp_path / "unscheduled").mkdir()
    copy = copy_without(bare, tmp_path / "unscheduled", "DROP TABLE SCHED_EVENTS")
    by_period = analyze(copy, evidence="samples").phase("blocked")
    assert by_period.samples.on_cpu_from == "samples"
    assert by_period.samples.off_cpu_ns > 3 * 10_000_000
    assert without_profiler(by_period) < 30_000_000


def test_ranges_decide_and_samples_give_the_profilers_share(analysed) -> None:
    base = analysed("inject").phase("base")
    assert base.taxbreak.evidence == "ranges"
    assert 0.35 <= base.samples.profiler_share <= 0.50
    low, high = base.samples.profiler_interval_ns
    assert low < base.samples.profiler_ns < high
    # it lies in the layers: every one of them holds some
    assert all(base.samples.profiler_by_state_ns[state] > 0 for state in ("dispatch", "launch", "library", "python"))


def test_sample_rows_add_up(analysed) -> None:
    for name in SAMPLED:
        result = analysed(name)
        for entry in result.entries:
            for rows in (result.sample_rows, result.symbol_rows):
                mine = [row for row in rows if row["phase"] == entry.phase]
                assert sum(row["samples"] for row in mine) == entry.samples.count
                kinds = sum(sum(state.kinds_ns.values()) for state in entry.samples.states.values())
                assert sum(row["total_ns"] for row in mine) == kinds
                if entry.taxbreak.evidence == "samples":
                    library = sum(row["total_ns"] for row in mine if row["layer"] == "library")
                    assert library == entry.taxbreak.delta_ct_ns


def test_libraries_have_names(analysed) -> None:
    rows = analysed("llama-1b-sampled").sample_rows
    assert {"cuBLAS", "cuBLASLt", "cuDNN"} <= {row["module"] for row in rows if row["layer"] == "library"}
    assert {"interpreter", "native"} <= {row["kind"] for row in rows if row["layer"] == "framework"}
    assert not any("/" in row["file"] for row in rows)


def test_own_module_table_comes_first(report, tmp_path: Path) -> None:
    table = tmp_path / "modules.tsv"
    table.write_text("# ours\nlibcublas_shim.so\tframework\tShim\n")
    path = report("inject")
    before = analyze(path, evidence="samples").phase("library").taxbreak
    after = analyze(path, evidence="samples", modules=table)
    assert after.phase("library").taxbreak.delta_ct_ns < before.delta_ct_ns / 2
    assert "Shim" in {row["module"] for row in after.sample_rows if row["layer"] == "framework"}
    for text, message in [("x\n", "line 1: write PATTERN"), ("x\tnonsense\n", "'nonsense' is not one of")]:
        table.write_text(text)
        with pytest.raises(TaxbreakError, match=message):
            analyze(path, modules=table)


def test_a_module_that_no_table_knows_is_named(report, tmp_path: Path) -> None:
    path = copy_without(
        report("llama-1b-sampled"),
        tmp_path,
        "UPDATE StringIds SET value = '/opt/mystery.so' WHERE value LIKE '%/python3.12' OR value LIKE '%/libtorch%'"
        " OR value LIKE '%/libc10%' OR value LIKE '%/libcu%'",
    )
    warnings = {w.code: w.message for w in analyze(path).report.warnings}
    assert "mystery.so" in warnings["unknown_modules"]


def test_samples_without_chains_say_so(report, tmp_path: Path) -> None:
    path = copy_without(report("llama-1b-sampled"), tmp_path, "DELETE FROM SAMPLING_CALLCHAINS WHERE stackDepth > 0")
    result = analyze(path, evidence="samples")
    assert "samples_without_chains" in {w.code for w in result.report.warnings}
    whole = analyze(report("llama-1b-sampled"), evidence="samples").phase("decode").taxbreak
    # what chains would give to the library is inside the interval
    _, high = result.phase("decode").taxbreak.library_interval_ns
    assert high > whole.delta_ct_ns


def test_too_few_samples_fall_back_and_say_so(report, tmp_path: Path) -> None:
    path = copy_without(report("llama-1b-sampled"), tmp_path, "DELETE FROM COMPOSITE_EVENTS WHERE id % 40")
    result = analyze(path)
    assert {e.taxbreak.evidence for e in result.entries} == {"none"}
    assert "too_few_samples" in {w.code for w in result.report.warnings}


def test_period_in_cycles_is_told_from_the_samples(report, tmp_path: Path) -> None:
    path = copy_without(
        report("llama-1b-sampled"),
        tmp_path,
        "UPDATE META_DATA_CAPTURE SET value = '300000' WHERE name = 'LINUX_PERF_OPTIONS:SAMPLING_PERIOD'",
    )
    assert analyze(path).phase("decode").samples.period_ns == pytest.approx(PERIOD, rel=0.02)


def test_a_report_without_samples_has_none(analysed) -> None:
    result = analysed("llama-1b")
    assert result.sample_rows == ()
    assert {(e.samples, e.corrected) for e in result.entries} == {(None, None)}


@pytest.mark.parametrize(("total", "weights"), [(10, [1, 1, 1]), (7, [0, 3, 0]), (1, [5, 5]), (0, [1]), (9, [])])
def test_apportion_adds_up(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == (total if sum(weights) else 0)
    assert all(abs(part - total * w / sum(weights)) < 1 for part, w in zip(parts, weights, strict=True) if sum(weights))


def test_wilson_against_known_values() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


Shares = tuple[float, ...]


@pytest.mark.parametrize(
    ("times", "shares", "samples"),
    [
        ((25,), (0.3,), 200),
        ((15, 5, 1), (0.3, 0.1, 0.5), 300),
        ((15, 5, 2, 8), (0.05, 0.6, 0.3, 0.9), 300),
        ((150, 2), (0.09, 0.3), 1200),
        ((12, 12, 12), (0.2, 0.5, 0.8), 60),
    ],
)
def test_interval_holds_the_truth_in_95_percent(times: Shares, shares: Shares, samples: int) -> None:
    random = np.random.default_rng(20260127)
    total_time = sum(times)
    truth = sum(t * s for t, s in zip(times, shares, strict=True)) * 1e6
    held, rounds = 0, 2000
    for _ in range(rounds):
        # each moment of the phase is as likely as any other to be sampled
        taken = random.multinomial(samples, [t / total_time for t in times])
        strata = []
        for time, share, n in zip(times, shares, taken.tolist(), strict=True):
            k = int(random.binomial(n, share))
            ns = round(time * 1e6)
            library, other = apportion(ns, [k, n - k])
            strata.append(
                Stratum(
                    "python", ns, n, ns, {"library": library, "native": other}, {"library": k, "native": n - k},
                    0, n, ns, False,
                )
            )  # fmt: skip
        low, high = library_interval(Split(tuple(strata), PERIOD, "context_switches"))
        held += low <= truth <= high
    assert 0.93 <= held / rounds <= 0.97


def test_interval_of_a_stratum_without_samples_is_all_of_it() -> None:
    assert total_interval(0, [(1000, 0, 0, 0)]) == (0, 1000)


def test_corrected_wall_is_the_references(report, tmp_path: Path) -> None:
    reference = tmp_path / "times.json"
    reference.write_text(json.dumps({"prefill": {"median_ms": 16.781}, "decode": {"median_ms": 16.072}}))
    result = analyze(report("llama-1b-sampled"), reference=reference)
    for label, ns in (("prefill", 16_781_000), ("decode", 16_072_000)):
        entry = result.phase(label)
        fixed = entry.corrected
        assert fixed.wall_ns == ns * entry.instances == sum(fixed.states_ns.values())
        assert fixed.states_ns["profiler"] == 0
        assert fixed.states_ns["device_wait"] <= entry.states_ns["device_wait"]
        assert fixed.hdbi > entry.taxbreak.hdbi
        assert fixed.hdbi_interval[0] <= fixed.hdbi <= fixed.hdbi_interval[1]
        assert fixed.dilation == pytest.approx(entry.wall_median_ns / ns)
        assert fixed.t_orchestration_ns == fixed.delta_ft_ns + (fixed.delta_ct_ns or 0) + fixed.delta_kt_ns


def test_correction_takes_the_profiler_out_of_the_layers_it_lies_in(report, tmp_path: Path) -> None:
    # a reference of just the wall time without the profiler: nothing is left to scale
    plain = analyze(report("inject")).phase("base")
    left = plain.wall_ns - plain.samples.profiler_ns
    left -= left % (plain.instances * 1000)
    reference = tmp_path / "times.json"
    reference.write_text(json.dumps({"base": {"median_ms": left / plain.instances / 1e6}}))
    fixed = analyze(report("inject"), reference=reference).phase("base").corrected
    for state, ns in plain.states_ns.items():
        expected = ns - plain.samples.profiler_by_state_ns[state]
        assert fixed.states_ns[state] == pytest.approx(expected, abs=plain.instances * 1000), state


def test_waits_longer_than_the_reference_give_no_figures(report, tmp_path: Path) -> None:
    reference = tmp_path / "times.json"
    reference.write_text(json.dumps({"blocked": {"median_ms": 5.0}}))
    fixed = analyze(report("inject"), reference=reference).phase("blocked").corrected
    assert fixed.hdbi is None
    assert fixed.wall_ns is None
    assert "waits" in fixed.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[1]", "not an object"),
        ('{"warmup": {"median_ms": 3}}', "names no phase of the report"),
        ('{"decode": {"median_ms": 0}}', "more than 0 ms"),
        ('{"decode": {"median_ms": -2.5}}', "more than 0 ms"),
        ('{"decode": {"median_ms": NaN}}', "more than 0 ms"),
        ('{"decode": {"median_ms": "16"}}', "more than 0 ms"),
        ('{"a": {"decode": {"median_ms": 1}}, "b": {"decode": {"median_ms": 2}}}', "holds several sets"),
    ],
)
def test_a_reference_that_is_no_use_is_refused(report, tmp_path: Path, text: str, message: str) -> None:
    reference = tmp_path / "times.json"
    reference.write_text(text)
    with pytest.raises(TaxbreakError, match=message):
        analyze(report("llama-1b-sampled"), reference=reference)


def test_a_set_of_times_is_chosen_by_name(report, tmp_path: Path) -> None:
    reference = tmp_path / "times.json"
    sets = {"a": {"decode": {"median_ms": 16}}, "b": {"decode": {"median_ms": 20}}, "_about": "two runs"}
    reference.write_text(json.dumps(sets))
    result = analyze(report("llama-1b-sampled"), reference=f"{reference}#b")
    assert result.phase("decode").corrected.reference_ns == 20_000_000
    assert result.phase("prefill").corrected is None
    with pytest.raises(TaxbreakError, match="no set 'c'"):
        analyze(report("llama-1b-sampled"), reference=f"{reference}#c")
