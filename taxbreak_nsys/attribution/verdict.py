"""The verdict of a phase: which layer's exposed time is the largest, in a sentence (method section 5)."""

from __future__ import annotations

from collections.abc import Mapping

from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.result import Layers, Phase, SampleFigures, Verdict

DEVICE = "device"
DEVICE_IDLE_SHARE = 10
"""The device is the target where it is idle for less than one part in this many of the phase."""

_REST = ("memop", "module_load", "os_wait", "device_wait", "profiler")
_NAMES = {
    "framework": "framework translation (Python, operator dispatch, runtime bookkeeping)",
    "framework_library": "framework and library translation (not told apart)",
    "library": "CUDA library translation",
    "launch_path": "the kernel launch path",
    "memop": "launching copies and sets",
    "module_load": "module loading",
    "os_wait": "waiting in the operating system",
    "device_wait": "returning from synchronisation",
    "profiler": "the profiler itself",
    "off_cpu": "being off the CPU without a traced wait",
}
_ADVICE = {
    "framework": "launch less from Python: CUDA graphs, compilation, fewer and larger operators",
    "framework_library": "capture the library's ranges to tell the two apart",
    "library": "cut library calls: cached plans and heuristics, grouped or fused operations",
    "launch_path": "cut launches: CUDA graphs or fusion",
    "memop": "cut small copies and sets, or batch them",
    "module_load": "load modules before the measured phase (warm-up, eager loading)",
    "os_wait": "find out what the thread waits for: locks, I/O, another thread",
    "device_wait": "synchronise less often, or launch ahead of the synchronisation",
    "profiler": "capture with less tracing",
    "off_cpu": "find out what the thread waits for (other threads, I/O), or give it a CPU of its own",
}


def exposed_layers(
    exposed: Mapping[str, int],
    states: Mapping[str, int],
    layers: Layers,
    samples: SampleFigures | None = None,
) -> dict[str, int]:
    """Return the exposed time of each layer and of what is not orchestration, ns.

    The launch path's is that of the whole `launch` state. Where the subtraction moved time from `dispatch`
    to the library, it takes along its share of what is exposed of `dispatch`; so do the parts that samples tell
    apart in a state.
    """
    if layers.evidence == "samples" and samples is not None:
        return _by_samples(exposed, states, samples)
    framework = sum(exposed[state] for state in FRAMEWORK_STATES)
    library = exposed["library"]
    if layers.evidence == "ranges+samples" and samples is not None:
        outside = _library_outside(exposed, states, samples)
        framework, library = framework - outside, library + outside
    if layers.evidence == "subtractive" and states["dispatch"] and layers.delta_ct_ns is not None:
        moved = exposed["dispatch"] * (layers.delta_ct_ns - states["library"]) // states["dispatch"]
        framework, library = framework - moved, library + moved
    by_layer = (
        {"framework_library": framework + library}
        if layers.ft_includes_library
        else {"framework": framework, "library": library}
    )
    return by_layer | {"launch_path": exposed["launch"]} | {state: exposed[state] for state in _REST}


def _library_outside(exposed: Mapping[str, int], states: Mapping[str, int], samples: SampleFigures) -> int:
    """Return the exposed part of the library time that samples find outside library ranges, ns."""
    return sum(
        exposed[state] * inside.kinds_ns.get("library", 0) // states[state]
        for state in FRAMEWORK_STATES
        if states[state] and (inside := samples.states.get(state)) is not None
    )


def _by_samples(exposed: Mapping[str, int], states: Mapping[str, int], samples: SampleFigures) -> dict[str, int]:
    """Share out the exposed time of the states that samples split: framework, library, off the CPU.

    The profiler's samples stay the framework's, as in delta_ft.
    """
    found = dict.fromkeys(("framework", "library", "launch_path", *_REST, "off_cpu"), 0)
    found |= {"launch_path": exposed["launch"]} | {state: exposed[state] for state in _REST}
    for state in (*FRAMEWORK_STATES, "library"):
        inside = samples.states.get(state)
        if inside is None or not states[state]:
            continue
        for name, ns in (("library", inside.kinds_ns.get("library", 0)), ("off_cpu", inside.off_cpu_ns)):
            found[name] += exposed[state] * ns // states[state]
    # what rounding leaves is the framework's, so that nothing of the exposed time is lost
    found["framework"] = sum(exposed.values()) - sum(found.values())
    return found


def phase_exposed_layers(entry: Phase) -> dict[str, int] | None:
    """Return `exposed_layers` of a finished entry; None where the device's time was not measured."""
    if not entry.exposed_ns:
        return None
    return exposed_layers(entry.exposed_ns, entry.states_ns, entry.taxbreak, entry.samples)


def judge(
    exposed: Mapping[str, int] | None,
    states: Mapping[str, int],
    layers: Layers,
    wall_ns: int,
    samples: SampleFigures | None = None,
) -> Verdict:
    """Name what to work on: the device where it is hardly idle, else what keeps it idle longest."""
    if exposed is None or layers.hdbi is None:
        return Verdict(None, None, layers.hdbi_reason or "not measured")
    if not wall_ns:
        return Verdict(None, None, "the phase has no wall time")
    idle = sum(exposed.values())
    if idle * DEVICE_IDLE_SHARE < wall_ns:
        share = 1 - idle / wall_ns
        return Verdict(
            DEVICE, share,
            f"the device is busy for {share:.0%} of the phase: only less or faster device work shortens it",
        )  # fmt: skip
    by_layer = exposed_layers(exposed, states, layers, samples)
    target = max(by_layer, key=lambda name: by_layer[name])
    share = by_layer[target] / wall_ns
    return Verdict(
        target, share,
        f"{_NAMES[target]} keeps the device idle for {share:.0%} of the phase: {_ADVICE[target]}",
    )  # fmt: skip
