"""From states to the three layers and HDBI (method sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taxbreak_nsys.attribution.unmeasured_graphs import why_unmeasured
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import LibraryEvidence
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.result import DeviceTime, LaunchCounts, Layers, Phase

EVIDENCES = tuple(evidence.value for evidence in LibraryEvidence)
"""Evidence for the library layer, best first."""

LOWER, UPPER = "lower", "upper"
"""Values of `Layers.library_bound`: delta_ct is a lower or an upper bound of the library time."""

_MUCH_MISSED = 20
"""Library time outside of ranges is worth a word where it is surely more than one part in this many of delta_ct."""


@dataclass(frozen=True)
class SampledSums:
    """The layers of a phase according to its CPU samples, ns; intervals are 95 % intervals.

    `delta_ft_ns` and `delta_ct_ns` are the layers under evidence `samples`. `outside_ns` is the library time outside
    library ranges. `profiler_ns` is the profiler's own time in the states of `SPLIT_STATES`.
    """

    delta_ft_ns: int
    delta_ct_ns: int
    interval_ns: tuple[int, int]
    outside_ns: int
    outside_interval_ns: tuple[int, int]
    profiler_ns: int


@dataclass(frozen=True)
class PhaseSums:
    """The sums over a phase's instances from which its layers are computed; times in ns."""

    states_ns: Mapping[str, int]
    launches: LaunchCounts
    device: DeviceTime
    over_base_ns: int
    """The time that the subtraction (Eq. 5) moves from `dispatch` to the library, before the cap."""
    sampled: SampledSums | None = None
    """None where the report has no CPU samples."""
    lost: str | None = None
    """Why the phase is not measured at all: the report lost its CUDA rows (method section 5.1)."""
    unmarked: tuple[str, ...] = ()
    """The libraries that launched kernels of the phase and marked no range in its process."""


@dataclass(frozen=True)
class _LibrarySplit:
    """Framework and library time under one evidence, ns, with the interval or the bound of the library time."""

    delta_ft_ns: int
    delta_ct_ns: int | None
    interval_ns: tuple[int, int] | None = None
    bound: str | None = None


def split(sums: PhaseSums, evidence: str, t_sys_ns: int) -> Layers:
    """Return a phase split into framework, library and launch path, and its HDBI (method sections 4 and 5).

    delta_kt is T_sys for each kernel and graph launch; HDBI = T_DeviceActive / (T_DeviceActive + T_Orchestration).
    `hdbi` leaves out the `profiler` state only, under every evidence. `hdbi_without_profiler` also leaves out the
    profiler's time that samples find in the other states.
    """
    if sums.lost is not None:
        return Layers(
            delta_ft_ns=None, delta_ct_ns=None, delta_kt_ns=None, launch_excess_ns=None, t_orchestration_ns=None,
            t_device_active_ns=None, hdbi=None, hdbi_reason=sums.lost, evidence="none", library_interval_ns=None,
            ft_includes_library=False,
        )  # fmt: skip
    parts = _library_split(sums, evidence)
    launched = sums.launches.kernel + sums.launches.graph
    delta_kt = launched * t_sys_ns
    orchestration = parts.delta_ft_ns + (parts.delta_ct_ns or 0) + delta_kt
    active = sums.device.active_ns
    hdbi, reason = _hdbi(active, orchestration, sums.launches)
    without_profiler = None
    if hdbi is not None and active is not None and sums.sampled is not None and sums.sampled.profiler_ns:
        denominator = active + orchestration - sums.sampled.profiler_ns
        without_profiler = active / denominator if denominator else None
    return Layers(
        delta_ft_ns=parts.delta_ft_ns,
        delta_ct_ns=parts.delta_ct_ns,
        delta_kt_ns=delta_kt,
        launch_excess_ns=max(sums.states_ns["launch"] - delta_kt, 0),
        t_orchestration_ns=orchestration,
        t_device_active_ns=active,
        hdbi=hdbi,
        hdbi_reason=reason,
        evidence=evidence,
        library_interval_ns=parts.interval_ns,
        ft_includes_library=parts.delta_ct_ns is None,
        hdbi_without_profiler=without_profiler,
        library_bound=parts.bound,
        unmarked_libraries=sums.unmarked if evidence == "ranges" else (),
    )


def _library_split(sums: PhaseSums, evidence: str) -> _LibrarySplit:
    """Return the framework and library time of a phase under an evidence (method section 4).

    `ranges`: the `library` state; a lower bound if a library that launched kernels marked no range.
    `ranges+samples`: the `library` state and the time of library samples outside of it. `samples`: the time of library
    samples; time off the CPU is in neither layer. `subtractive`: the `library` state and the time that the subtraction
    moves out of `dispatch`; an upper bound, because the longer dispatch of operators that call a library is not all
    library time. `none`: delta_ct is None and delta_ft holds both. Raises TaxbreakError for any other evidence.
    """
    framework = sum(sums.states_ns[state] for state in FRAMEWORK_STATES)
    library = sums.states_ns["library"]
    sampled = sums.sampled
    if evidence == "ranges":
        return _LibrarySplit(framework, library, None, LOWER if sums.unmarked else None)
    if evidence == "ranges+samples" and sampled is not None:
        low, high = sampled.outside_interval_ns
        outside = sampled.outside_ns
        return _LibrarySplit(framework - outside, library + outside, (library + low, library + high))
    if evidence == "samples" and sampled is not None:
        return _LibrarySplit(sampled.delta_ft_ns, sampled.delta_ct_ns, sampled.interval_ns)
    if evidence == "subtractive":
        moved = moved_ns(sums)
        return _LibrarySplit(framework - moved, library + moved, (library, library + moved), UPPER)
    if evidence == "none":
        return _LibrarySplit(framework + library, None)
    raise TaxbreakError(f"evidence {evidence!r} is not one of {', '.join(EVIDENCES)}")


def moved_ns(sums: PhaseSums) -> int:
    """Return the time that the subtraction moves from `dispatch` to the library, capped at `dispatch`, ns."""
    return min(sums.over_base_ns, sums.states_ns["dispatch"])


def misses_library_time(entry: Phase) -> bool:
    """Return whether CPU samples prove library time outside library ranges that counts as framework time."""
    interval = entry.samples.library_missed_interval_ns if entry.samples else None
    if interval is None or entry.taxbreak.evidence != "ranges":
        return False
    return interval[0] * _MUCH_MISSED > (entry.taxbreak.delta_ct_ns or 0)


def layer_parts(entry: Phase) -> dict[str, tuple[float, float]]:
    """Return for each state of the host layers its framework share and its library share, 0 to 1.

    The state times multiplied by their shares add up to delta_ft and delta_ct; the rest of a state is in neither (time
    off the CPU). An estimate does not say which intervals of a state it moves, so all have the same shares:
    `subtractive` moves time out of `dispatch`, `ranges+samples` out of all framework states, `samples` splits all
    states together.
    """
    layers, states = entry.taxbreak, entry.states_ns
    parts = dict.fromkeys(FRAMEWORK_STATES, (1.0, 0.0)) | {"library": (0.0, 1.0)}
    if layers.delta_ft_ns is None or layers.delta_ct_ns is None:
        return parts | {"library": (1.0, 0.0)}
    if layers.evidence == "subtractive" and states["dispatch"]:
        part = (layers.delta_ct_ns - states["library"]) / states["dispatch"]
        return parts | {"dispatch": (1 - part, part)}
    framework = sum(states[state] for state in FRAMEWORK_STATES)
    if layers.evidence == "ranges+samples" and framework:
        part = (layers.delta_ct_ns - states["library"]) / framework
        return parts | dict.fromkeys(FRAMEWORK_STATES, (1 - part, part))
    whole = framework + states["library"]
    if layers.evidence == "samples" and whole:
        return dict.fromkeys(parts, (layers.delta_ft_ns / whole, layers.delta_ct_ns / whole))
    return parts


def _hdbi(active: int | None, orchestration: int, launches: LaunchCounts) -> tuple[float | None, str | None]:
    if launches.unmeasured_graph:
        return None, why_unmeasured(launches)
    if not launches.kernel + launches.graph:
        return None, "no kernel or graph launch in the phase"
    if active is None or active + orchestration == 0:
        return None, "no device or host time in the phase"
    return active / (active + orchestration), None


def hdbi_word(hdbi: float) -> str:
    """Return the word for an HDBI between the paper's ends, host-bound (0) and device-bound (1)."""
    if hdbi < 0.35:
        return "host-bound"
    return "balanced" if hdbi <= 0.65 else "device-bound"
