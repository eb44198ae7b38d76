"""A phase without the overhead of the profiler (method section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.attribution.layers import PhaseSums, moved_ns
from taxbreak_nsys.attribution.typical_waits import WAITS, TypicalWaits
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.result import Corrected, Layers
from taxbreak_nsys.totals.sampled_split import SPLIT_STATES, Split, apportion, wilson


@dataclass(frozen=True)
class Reference:
    """An un-profiled run of a phase: its median wall time, ns, and the number of instances to correct."""

    median_ns: int
    instances: int

    @property
    def wall_ns(self) -> int:
        """The wall time of all instances at the reference's median, ns."""
        return self.median_ns * self.instances


def corrected(
    sums: PhaseSums,
    layers: Layers,
    split: Split | None,
    reference: Reference,
    wall_median_ns: int,
    *,
    waits: Ints,
    scale_t_sys: bool,
) -> Corrected:
    """Return a phase with the wall time of an un-profiled run.

    First the profiler's own time is subtracted: the `profiler` state, and the profiler's time in other states according
    to the samples, scaled down to the excess of the capture over the reference. Then the host states are scaled by one
    factor of at most 1, so that they and the waits add up to the reference's wall time to the nanosecond. `waits`
    (instances, `WAITS`) are the waits of each instance, ns: the reference is a median, so an instance that waits longer
    than the whole reference counts with the waits of the others (`TypicalWaits`). With `scale_t_sys`, T_sys comes from
    a profiled launch and delta_kt is scaled with the `launch` state. T_Orchestration is at most the reference's wall
    time minus the waits. Figures are None, with the reason, where no correction exists.
    """
    total = sum(sums.states_ns.values())
    profiler = sum(_claimed(split).values()) + sums.states_ns["profiler"] if split else None
    typical = TypicalWaits.of(waits, reference.median_ns)
    sums = replace(sums, states_ns={**sums.states_ns, **typical.waits_ns})
    split = typical.in_split(split) if split else None
    claimed = _claimed(split) if split else {}
    own = _scaled_down(claimed, sums.states_ns, reference.wall_ns)
    remaining = {state: ns - own[state] for state, ns in sums.states_ns.items()}
    host = [state for state in STATES if state not in WAITS]
    waiting, busy = sum(remaining[state] for state in WAITS), sum(remaining[state] for state in host)
    # without the profiler's time the capture may be shorter than the reference: it is not stretched
    wall = min(reference.wall_ns, waiting + busy)
    share = profiler / total if profiler is not None and total else None
    dilation = wall_median_ns / reference.median_ns
    if waiting > wall or not busy:
        reason = (
            f"the phase waits for {waiting / reference.instances / 1e6:.3f} ms per instance, longer than the "
            f"reference's {reference.median_ns / 1e6:.3f} ms"
            if waiting > wall
            else "the phase consists of nothing but waiting"
        )
        return Corrected(
            dilation=dilation, reference_ns=reference.median_ns, profiler_share=share, wall_ns=None, states_ns=None,
            delta_ft_ns=None, delta_ct_ns=None, delta_kt_ns=None, t_orchestration_ns=None, hdbi=None,
            hdbi_interval=None, reason=reason,
        )  # fmt: skip
    scaled = dict(zip(host, apportion(wall - waiting, [remaining[state] for state in host]), strict=True))
    states = {state: scaled.get(state, remaining[state]) for state in STATES}
    delta_ft, delta_ct = _layers(sums, layers, split, states)
    delta_kt = min(
        _floor(layers, sums, states["launch"], scale_t_sys=scale_t_sys), wall - waiting - delta_ft - (delta_ct or 0)
    )
    orchestration = delta_ft + (delta_ct or 0) + delta_kt
    active = layers.t_device_active_ns
    hdbi, interval = None, None
    if layers.hdbi is not None and active is not None and active + orchestration:
        hdbi = active / (active + orchestration)
        if split:
            model = _CorrectionModel(layers, split, reference.wall_ns, scale_t_sys=scale_t_sys)
            low, high = model.interval()
            interval = (active / (active + max(high, orchestration)), active / (active + min(low, orchestration)))
    return Corrected(
        dilation=dilation,
        reference_ns=reference.median_ns,
        profiler_share=share,
        wall_ns=wall,
        states_ns=states,
        delta_ft_ns=delta_ft,
        delta_ct_ns=delta_ct,
        delta_kt_ns=delta_kt,
        t_orchestration_ns=orchestration,
        hdbi=hdbi,
        hdbi_interval=interval,
        reason=None if hdbi is not None else layers.hdbi_reason,
        profiler_claimed_ns=profiler,
        profiler_removed_ns=sum(own.values()),
        long_waits=typical.replaced,
    )


def _claimed(split: Split) -> dict[str, int]:
    """Return the profiler's own time by state according to the samples, ns; the `profiler` state is left out."""
    own: dict[str, int] = {}
    for stratum in split.strata:
        if stratum.state != "profiler":
            own[stratum.state] = own.get(stratum.state, 0) + stratum.profiler_ns
    return own


def _scaled_down(claimed: Mapping[str, int], states: Mapping[str, int], wall_ns: int) -> dict[str, int]:
    """Return the time to subtract from each state, ns: all of `profiler`; the others together at most the excess."""
    room = max(sum(states.values()) - states["profiler"] - wall_ns, 0)
    names = [state for state in STATES if state != "profiler"]
    asked = [claimed.get(state, 0) for state in names]
    parts = asked if sum(asked) <= room else apportion(room, asked)
    return dict(zip(names, parts, strict=True)) | {"profiler": states["profiler"]}


def _floor(layers: Layers, sums: PhaseSums, launch_ns: int, *, scale_t_sys: bool) -> int:
    """Return delta_kt, ns; scaled like the `launch` state (to `launch_ns`) if T_sys contains the profiler's time."""
    captured, delta_kt = sums.states_ns["launch"], layers.delta_kt_ns or 0
    if not scale_t_sys or not captured:
        return delta_kt
    return min(delta_kt * launch_ns // captured, delta_kt)


def _layers(sums: PhaseSums, layers: Layers, split: Split | None, states: dict[str, int]) -> tuple[int, int | None]:
    """Return framework and library time of the scaled states, by the evidence of the captured phase, ns."""
    framework, library = sum(states[state] for state in FRAMEWORK_STATES), states["library"]
    if layers.evidence == "samples" and split:
        return _by_samples(split, states, SPLIT_STATES)
    if layers.evidence == "ranges+samples" and split:
        _, outside = _by_samples(split, states, FRAMEWORK_STATES)
        return framework - outside, library + outside
    if layers.evidence == "subtractive" and sums.states_ns["dispatch"]:
        moved = states["dispatch"] * moved_ns(sums) // sums.states_ns["dispatch"]
        return framework - moved, library + moved
    if layers.evidence == "none":
        return framework + library, None
    return framework, library


def _by_samples(split: Split, states: dict[str, int], of_states: Sequence[str]) -> tuple[int, int]:
    """Return framework and library time of some scaled states by their samples, ns; time off the CPU is in neither."""
    framework, library = 0, 0
    for state in of_states:
        strata = [s for s in split.strata if s.state == state]
        weights = [
            sum(s.framework_ns for s in strata),
            sum(s.library_ns for s in strata),
            sum(s.time_ns - s.on_cpu_ns for s in strata),
        ]
        parts = apportion(states[state], weights)
        framework, library = framework + parts[0], library + parts[1]
    return framework, library


class _CorrectionModel:
    """The corrected T_Orchestration as a function of the profiler's time in each stratum, to compute its interval."""

    def __init__(self, layers: Layers, split: Split, wall_ns: int, *, scale_t_sys: bool) -> None:
        self._layers, self._wall, self._scale_t_sys = layers, wall_ns, scale_t_sys
        self._strata = [s for s in split.strata if s.state != "profiler"]

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of T_Orchestration that follows from the sampling error of the profiler's time, ns.

        The profiler share of one stratum at a time is set to either end of its interval; the squared distances from the
        estimate are added up.
        """
        own = [float(s.profiler_ns) for s in self._strata]
        middle = self._orchestration(own)
        below = above = 0.0
        for index, stratum in enumerate(self._strata):
            hits = stratum.counts.get("profiler", 0)
            share = hits / stratum.trials if stratum.trials else 0.0
            for end in wilson(hits, stratum.trials):
                moved = own[index] + stratum.trials_ns * (end - share)
                tried = [*own[:index], min(max(moved, 0.0), stratum.on_cpu_ns), *own[index + 1 :]]
                distance = self._orchestration(tried) - middle
                below, above = below + min(distance, 0) ** 2, above + max(distance, 0) ** 2
        return max(middle - below**0.5, 0.0), middle + above**0.5

    def _orchestration(self, claimed: Sequence[float]) -> float:
        """Return T_Orchestration for given profiler times of the strata, ns."""
        room, asked = max(sum(s.time_ns for s in self._strata) - self._wall, 0), sum(claimed)
        part = room / asked if asked > room else 1.0
        by_samples = self._layers.evidence == "samples"
        waits, busy, layer, launch, launched = 0.0, 0.0, 0.0, 0.0, 0
        for stratum, profiler in zip(self._strata, claimed, strict=True):
            remaining = stratum.time_ns - part * profiler
            if stratum.state in WAITS:
                waits += remaining
                continue
            busy += remaining
            if stratum.state in SPLIT_STATES:
                layer += (stratum.on_cpu_ns if by_samples else stratum.time_ns) - part * profiler
            if stratum.state == "launch":
                launch, launched = launch + remaining, launched + stratum.time_ns
        host = min(max(self._wall - waits, 0.0), busy)
        factor = host / busy if busy else 0.0
        delta_kt = float(self._layers.delta_kt_ns or 0)
        if self._scale_t_sys and launched:
            delta_kt *= min(factor * launch / launched, 1.0)
        return min(factor * layer + delta_kt, host)
