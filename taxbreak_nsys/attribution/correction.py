"""A phase without the profiler's own tax (method section 6)."""

from __future__ import annotations

from collections.abc import Sequence

from taxbreak_nsys.attribution.layers import PhaseSums, moved_ns
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.result import Corrected, Layers
from taxbreak_nsys.totals.sampled_split import SPLIT_STATES, Split, Stratum, apportion, wilson

WAITS = ("device_wait", "os_wait")
"""The states that an un-profiled run waits for as long: not scaled."""


def corrected(
    sums: PhaseSums,
    layers: Layers,
    split: Split | None,
    reference_ns: int,
    instances: int,
    wall_median_ns: int,
) -> Corrected:
    """Return a phase as it would be with the wall time of an un-profiled run.

    The profiler's own time leaves each state (the `profiler` state, and what samples say of the others), then
    the host states are scaled together so that they and the waits make up `reference_ns` × `instances`, to the
    nanosecond. delta_kt stays: T_sys is a floor, not a time that was measured in the phase.
    """
    own = _own(split) if split else {}
    own["profiler"] = sums.states_ns["profiler"]
    left = {state: ns - own.get(state, 0) for state, ns in sums.states_ns.items()}
    host = [state for state in STATES if state not in WAITS]
    waits, wall = sum(left[state] for state in WAITS), reference_ns * instances
    dilation = wall_median_ns / reference_ns
    total = sum(sums.states_ns.values())
    share = sum(own.values()) / total if split and total else None
    busy = sum(left[state] for state in host)
    if waits > wall or not busy:
        reason = (
            f"the phase waits for {waits / instances / 1e6:.3f} ms an instance, longer than the reference's "
            f"{reference_ns / 1e6:.3f} ms"
            if waits > wall
            else "nothing but waiting is left of the phase"
        )
        return Corrected(dilation, reference_ns, share, None, None, None, None, None, None, None, None, reason)
    scaled = dict(zip(host, apportion(wall - waits, [left[state] for state in host]), strict=True))
    states = {state: scaled.get(state, left[state]) for state in STATES}
    delta_ft, delta_ct = _layers(sums, layers, split, states)
    orchestration = delta_ft + (delta_ct or 0) + layers.delta_kt_ns
    active = layers.t_device_active_ns
    hdbi, interval = None, None
    if layers.hdbi is not None and active is not None and active + orchestration:
        hdbi = active / (active + orchestration)
        if split:
            low, high = _interval(layers, split, wall)
            interval = (active / (active + max(high, orchestration)), active / (active + min(low, orchestration)))
    return Corrected(
        dilation, reference_ns, share, wall, states, delta_ft, delta_ct, layers.delta_kt_ns, orchestration,
        hdbi, interval, None if hdbi is not None else layers.hdbi_reason,
    )  # fmt: skip


def _own(split: Split) -> dict[str, int]:
    """Return the profiler's own time by state, as the samples have it."""
    own: dict[str, int] = {}
    for stratum in split.strata:
        own[stratum.state] = own.get(stratum.state, 0) + stratum.profiler_ns
    return own


def _layers(sums: PhaseSums, layers: Layers, split: Split | None, states: dict[str, int]) -> tuple[int, int | None]:
    """Split the scaled states into framework and library by the evidence of the captured figures."""
    framework, library = sum(states[state] for state in FRAMEWORK_STATES), states["library"]
    if layers.evidence == "samples" and split:
        framework, library = 0, 0
        for state in SPLIT_STATES:
            strata = [s for s in split.strata if s.state == state]
            weights = [
                sum(s.framework_ns for s in strata),
                sum(s.library_ns for s in strata),
                sum(s.time_ns - s.on_cpu_ns for s in strata),
            ]
            parts = apportion(states[state], weights)
            framework, library = framework + parts[0], library + parts[1]
    elif layers.evidence == "subtractive" and sums.states_ns["dispatch"]:
        moved = states["dispatch"] * moved_ns(sums) // sums.states_ns["dispatch"]
        framework, library = framework - moved, library + moved
    elif layers.evidence == "none":
        return framework + library, None
    return framework, library


def _interval(layers: Layers, split: Split, wall: int) -> tuple[float, float]:
    """Return the 95 % interval of the corrected T_Orchestration, as far as samples leave it open, ns.

    One stratum at a time has its profiler share at either end of its interval; the distances from the estimate
    add up squared.
    """
    strata = [s for s in split.strata if s.state != "profiler"]
    own = [s.profiler_ns for s in strata]
    middle = _orchestration(layers, strata, own, wall)
    below = above = 0.0
    for index, stratum in enumerate(strata):
        hits = stratum.counts.get("profiler", 0)
        share = hits / stratum.trials if stratum.trials else 0.0
        for end in wilson(hits, stratum.trials):
            moved = own[index] + stratum.trials_ns * (end - share)
            tried = [*own[:index], min(max(moved, 0.0), stratum.on_cpu_ns), *own[index + 1 :]]
            distance = _orchestration(layers, strata, tried, wall) - middle
            below, above = below + min(distance, 0) ** 2, above + max(distance, 0) ** 2
    return max(middle - below**0.5, layers.delta_kt_ns), middle + above**0.5


def _orchestration(layers: Layers, strata: Sequence[Stratum], own: Sequence[float], wall: int) -> float:
    """Return T_Orchestration at the wall time of the reference for given profiler times a stratum."""
    by_samples = layers.evidence == "samples"
    waits, busy, layer = 0.0, 0.0, 0.0
    for stratum, profiler in zip(strata, own, strict=True):
        left = stratum.time_ns - profiler
        if stratum.state in WAITS:
            waits += left
            continue
        busy += left
        if stratum.state in SPLIT_STATES:
            layer += (stratum.on_cpu_ns if by_samples else stratum.time_ns) - profiler
    return max(wall - waits, 0.0) * (layer / busy if busy else 0.0) + layers.delta_kt_ns
