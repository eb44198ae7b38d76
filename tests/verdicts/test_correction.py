"""The corrected figures never claim more host time than the un-profiled run had (method section 6)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.attribution.correction import Reference, corrected
from taxbreak_nsys.attribution.layers import PhaseSums, split
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.result import DeviceTime, LaunchCounts
from taxbreak_nsys.totals.sampled_split import Split, Stratum

US = 1000


def with_reference(path: Path, folder: Path, part: float) -> Result:
    """Analyse a report against `part` of its own median walls, as if it had run so long without a profiler."""
    plain = analyze(path)
    times = {e.phase: {"median_ms": e.wall_median_ns * part / 1e6} for e in plain.entries if e.wall_median_ns}
    reference = folder / "times.json"
    reference.write_text(json.dumps(times))
    return analyze(path, reference=reference)


@pytest.mark.parametrize("part", [0.4, 0.7, 0.95, 1.0, 1.3])
def test_orchestration_and_waits_fit_the_reference(any_report: Path, tmp_path: Path, part: float) -> None:
    for entry in with_reference(any_report, tmp_path, part).entries:
        fixed = entry.corrected
        if fixed is None or fixed.wall_ns is None:
            assert fixed is None or fixed.reason
            continue
        assert fixed.wall_ns <= fixed.reference_ns * entry.instances
        assert sum(fixed.states_ns.values()) == fixed.wall_ns
        waits = fixed.states_ns["device_wait"] + fixed.states_ns["os_wait"]
        assert fixed.t_orchestration_ns + waits <= fixed.wall_ns
        assert fixed.t_orchestration_ns == fixed.delta_ft_ns + (fixed.delta_ct_ns or 0) + fixed.delta_kt_ns
        # nothing is stretched: each state is at most what was captured
        assert all(fixed.states_ns[state] <= entry.states_ns[state] + 1 for state in STATES)
        if fixed.hdbi_interval:
            assert fixed.hdbi_interval[0] <= fixed.hdbi <= fixed.hdbi_interval[1]


def a_phase(python: int, launch: int, wait: int, launches: int) -> PhaseSums:
    states = dict.fromkeys(STATES, 0) | {"python": python, "launch": launch, "device_wait": wait}
    return PhaseSums(
        states_ns=states,
        launches=LaunchCounts(kernel=launches, graph=0, memory=0, unmeasured_graph=0),
        device=DeviceTime(active_ns=10 * US, kernel_sum_ns=10 * US, idle_ns=0, busy_share=None),
        over_base_ns=0,
    )


def waits_of(sums: PhaseSums) -> np.ndarray:
    """One instance with all waits of a phase."""
    return np.array([[sums.states_ns["device_wait"], sums.states_ns["os_wait"]]])


def samples(state: str, time: int, profiler: int) -> Stratum:
    """A state that was on the CPU throughout, sampled every us."""
    return Stratum(
        state=state, time_ns=time, samples=time // US, on_cpu_ns=time,
        kinds_ns={"profiler": profiler, "native": time - profiler},
        counts={"profiler": profiler // US, "native": (time - profiler) // US},
        undecided=0, trials=time // US, trials_ns=time, capped=False,
    )  # fmt: skip


def test_the_profiler_leaves_first_and_the_rest_is_scaled() -> None:
    # captured: 60 us Python (20 of them the profiler's), 20 us launching, 20 us waiting; un-profiled: 65 us
    sums = a_phase(60 * US, 20 * US, 20 * US, launches=4)
    strata = Split((samples("python", 60 * US, 20 * US), samples("launch", 20 * US, 0)), US, "samples")
    layers = split(sums, "none", t_sys_ns=4 * US)
    fixed = corrected(sums, layers, strata, Reference(65 * US, 1), 100 * US, waits=waits_of(sums), scale_t_sys=True)
    # 40 + 20 us of host work have 45 us: three quarters
    assert fixed.states_ns["python"] == 30 * US
    assert fixed.states_ns["launch"] == 15 * US
    assert fixed.states_ns["device_wait"] == 20 * US
    # T_sys was measured under the profiler, so it shrinks as launching does
    assert fixed.delta_kt_ns == 12 * US
    given = corrected(sums, layers, strata, Reference(65 * US, 1), 100 * US, waits=waits_of(sums), scale_t_sys=False)
    # a given T_sys stays, as far as the reference has room for it: 45 us less the 30 of Python
    assert given.delta_kt_ns == 15 * US


def test_samples_cannot_claim_more_than_the_capture_is_longer() -> None:
    # samples say 40 of 60 us are the profiler's, and the un-profiled run is only 10 us shorter
    sums = a_phase(60 * US, 20 * US, 20 * US, launches=4)
    strata = Split((samples("python", 60 * US, 40 * US),), US, "samples")
    fixed = corrected(
        sums, split(sums, "none", 1 * US), strata, Reference(90 * US, 1), 100 * US,
        waits=waits_of(sums), scale_t_sys=True,
    )  # fmt: skip
    assert (fixed.profiler_claimed_ns, fixed.profiler_removed_ns) == (40 * US, 10 * US)
    # the factor is 1: what is left of the host's time stays as it was measured
    assert fixed.states_ns["python"] == 50 * US
    assert fixed.states_ns["launch"] == 20 * US


def test_a_reference_that_is_longer_than_the_capture_stretches_nothing() -> None:
    sums = a_phase(60 * US, 20 * US, 20 * US, launches=4)
    fixed = corrected(
        sums, split(sums, "none", US), None, Reference(130 * US, 1), 100 * US, waits=waits_of(sums), scale_t_sys=True
    )
    assert fixed.wall_ns == 100 * US
    assert fixed.states_ns == sums.states_ns


def test_one_instance_that_waits_for_other_work_does_not_hide_the_phase() -> None:
    # four instances with 50 us Python and 10 us waiting; a fifth waits for 400 us. Un-profiled, the median is 40 us
    sums = a_phase(250 * US, 0, 440 * US, launches=5)
    layers = split(sums, "none", t_sys_ns=US)
    waits = np.array([[10 * US, 0]] * 4 + [[400 * US, 0]])
    reference = Reference(40 * US, 5)
    fixed = corrected(sums, layers, None, reference, 60 * US, waits=waits, scale_t_sys=False)
    assert fixed.long_waits == 1
    # an un-profiled instance: 10 us of waiting, 30 us of Python
    assert fixed.states_ns["device_wait"] == 5 * 10 * US
    assert fixed.states_ns["python"] == 5 * 30 * US
    assert sum(fixed.states_ns.values()) == fixed.wall_ns == reference.wall_ns
    assert fixed.t_orchestration_ns + fixed.states_ns["device_wait"] <= reference.wall_ns
    # samples of the waits are of the typical waits as well: they cannot claim the long one for the profiler
    strata = Split((samples("python", 250 * US, 0), samples("device_wait", 440 * US, 44 * US)), US, "samples")
    sampled = corrected(sums, layers, strata, reference, 60 * US, waits=waits, scale_t_sys=False)
    assert sampled.states_ns["device_wait"] == 45 * US
    assert sampled.profiler_claimed_ns == 44 * US
    assert sampled.profiler_removed_ns == 5 * US
    assert sampled.t_orchestration_ns + sampled.states_ns["device_wait"] <= reference.wall_ns


def test_a_phase_whose_usual_instance_waits_longer_than_the_reference_has_no_correction() -> None:
    sums = a_phase(150 * US, 0, 150 * US, launches=3)
    waits = np.array([[0, 0], [50 * US, 0], [100 * US, 0]])
    layers = split(sums, "none", t_sys_ns=US)
    fixed = corrected(sums, layers, None, Reference(40 * US, 3), 100 * US, waits=waits, scale_t_sys=False)
    assert fixed.hdbi is None
    assert "waits for 0.050 ms per instance, longer than the reference's 0.040 ms" in fixed.reason


UNPROFILED = {
    # sample_reports and more: the same phases without a profiler, ms
    "llama": {"prefill": {"median_ms": 16.781}, "decode": {"median_ms": 16.072}},
    "inject": {
        "base": {"median_ms": 5.956},
        "framework": {"median_ms": 16.956},
        "library": {"median_ms": 17.135},
        "device": {"median_ms": 67.779},
    },
}


def test_captures_of_one_program_are_corrected_to_one_hdbi(report, tmp_path: Path) -> None:
    """Four captures of the same decode step, traced lightly to heavily: 1.6 to 2.3 times as slow as un-profiled."""
    reference = tmp_path / "times.json"
    reference.write_text(json.dumps(UNPROFILED["llama"]))
    captures = ("llama-1b", "llama-1b-aten", "llama-1b-bare", "llama-1b-sampled")
    decode = [analyze(report(name), reference=reference).phase("decode") for name in captures]
    captured = [entry.taxbreak.hdbi for entry in decode]
    fixed = [entry.corrected.hdbi for entry in decode]
    assert max(captured) - min(captured) > 0.02
    assert max(fixed) - min(fixed) < 0.005


def test_warnings_say_what_of_the_reference_does_not_fit(report, tmp_path: Path) -> None:
    reference = tmp_path / "times.json"
    reference.write_text(json.dumps(UNPROFILED["inject"]))
    result = analyze(report("inject"), reference=reference)
    scaled = next(w for w in result.report.warnings if w.code == "profiler_share_scaled")
    # un-profiled, the device-bound steps took as long: samples cannot have 11 ms for the profiler
    assert "device (11.3 ms, of which 0.0 ms are taken out)" in scaled.message
    assert "base" not in scaled.message
    reference.write_text(json.dumps({"device": {"median_ms": 90.0}}))
    longer = {w.code: w.message for w in analyze(report("inject"), reference=reference).report.warnings}
    assert "device" in longer["reference_longer"]
