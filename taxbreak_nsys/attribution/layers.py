"""From states to the three layers and HDBI (method sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import LibraryEvidence
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.result import DeviceTime, LaunchCounts, Layers, Phase

EVIDENCES = tuple(evidence.value for evidence in LibraryEvidence)
"""Evidence for the library layer, best first."""


@dataclass(frozen=True)
class PhaseSums:
    """What the layers of a phase are made of: sums over its instances, ns."""

    states_ns: Mapping[str, int]
    launches: LaunchCounts
    device: DeviceTime
    over_base_ns: int
    """What the subtraction (Eq. 5) moves from `dispatch` to the library, before the cap."""
    sampled_ns: tuple[int, int] | None = None
    """delta_ft and delta_ct as CPU samples have them."""
    sampled_interval_ns: tuple[int, int] | None = None
    """The 95 % interval of that delta_ct."""


def split(sums: PhaseSums, evidence: str, t_sys_ns: int) -> Layers:
    """Split a phase into framework, library and launch path, and give HDBI.

    delta_ft is `python` + `dispatch` + `runtime`; delta_ct is the `library` state (`ranges`), what samples hit
    in a library (`samples`: then the profiler's samples and time off the CPU are in neither), that state and what
    the subtraction moves out of `dispatch`, never more than `dispatch` holds (`subtractive`), or null
    (`none`: then delta_ft holds both, and HDBI needs no split). delta_kt is T_sys for each kernel and graph
    launch; HDBI = T_DeviceActive / (T_DeviceActive + T_Orchestration), section 5.
    """
    framework = sum(sums.states_ns[state] for state in FRAMEWORK_STATES)
    library = sums.states_ns["library"]
    interval = None
    if evidence == "ranges":
        delta_ft, delta_ct = framework, library
    elif evidence == "samples" and sums.sampled_ns is not None:
        delta_ft, delta_ct = sums.sampled_ns
        interval = sums.sampled_interval_ns
    elif evidence == "subtractive":
        moved = moved_ns(sums)
        delta_ft, delta_ct = framework - moved, library + moved
    elif evidence == "none":
        delta_ft, delta_ct = framework + library, None
    else:
        raise TaxbreakError(f"evidence {evidence!r} is not one of {', '.join(EVIDENCES)}")
    launched = sums.launches.kernel + sums.launches.graph
    delta_kt = launched * t_sys_ns
    orchestration = delta_ft + (delta_ct or 0) + delta_kt
    active = sums.device.active_ns
    hdbi, reason = _hdbi(active, orchestration, sums.launches)
    return Layers(
        delta_ft, delta_ct, delta_kt,
        max(sums.states_ns["launch"] - delta_kt, 0),
        orchestration, active, hdbi, reason, evidence, interval, delta_ct is None,
    )  # fmt: skip


def moved_ns(sums: PhaseSums) -> int:
    """Return what the subtraction moves from `dispatch` to the library, at most what `dispatch` holds."""
    return min(sums.over_base_ns, sums.states_ns["dispatch"])


def layer_parts(entry: Phase) -> dict[str, tuple[float, float]]:
    """Return for each state of the host layers the parts of its time that are framework's and library's, 0 to 1.

    Sums over a phase of state times parts are its delta_ft and delta_ct; the rest of a state is in neither (the
    profiler's samples, time off the CPU). Which of a state's intervals an estimate moved is not known, so each has
    the same parts: `subtractive` moves time out of `dispatch`, `samples` split all of these states together.
    """
    layers, states = entry.taxbreak, entry.states_ns
    parts = dict.fromkeys(FRAMEWORK_STATES, (1.0, 0.0)) | {"library": (0.0, 1.0)}
    if layers.delta_ct_ns is None:
        return parts | {"library": (1.0, 0.0)}
    if layers.evidence == "subtractive" and states["dispatch"]:
        part = (layers.delta_ct_ns - states["library"]) / states["dispatch"]
        return parts | {"dispatch": (1 - part, part)}
    whole = sum(states[state] for state in parts)
    if layers.evidence == "samples" and whole:
        return dict.fromkeys(parts, (layers.delta_ft_ns / whole, layers.delta_ct_ns / whole))
    return parts


def _hdbi(active: int | None, orchestration: int, launches: LaunchCounts) -> tuple[float | None, str | None]:
    if launches.unmeasured_graph:
        return None, (
            f"{launches.unmeasured_graph} CUDA graph launches have no device time in the report; "
            "capture with --cuda-graph-trace=node"
        )
    if not launches.kernel + launches.graph:
        return None, "no kernel or graph launch in the phase"
    if active is None or active + orchestration == 0:
        return None, "no device or host time in the phase"
    return active / (active + orchestration), None


def hdbi_word(hdbi: float) -> str:
    """Return the word for an HDBI: the paper's ends are host-bound (0) and device-bound (1)."""
    if hdbi < 0.35:
        return "host-bound"
    return "balanced" if hdbi <= 0.65 else "device-bound"
