"""The exposed time of each layer of a phase (method section 5)."""

from __future__ import annotations

from collections.abc import Mapping

from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.result import Layers, Phase, SampleFigures

_REST = ("memop", "module_load", "os_wait", "device_wait", "profiler")


def exposed_layers(
    exposed: Mapping[str, int],
    states: Mapping[str, int],
    layers: Layers,
    samples: SampleFigures | None = None,
) -> dict[str, int]:
    """Return the exposed time of each layer and of each state outside the layers, ns.

    The launch path has the exposed time of the whole `launch` state. Time that the subtraction moved from `dispatch` to
    the library takes a proportional share of the exposed time of `dispatch` along. The parts into which samples split a
    state share its exposed time in the same way.
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
    """Return the exposed time of the layers where samples split the states: framework, library, off the CPU, ns.

    The profiler's samples count as framework time, as in delta_ft.
    """
    by_layer = dict.fromkeys(("framework", "library", "launch_path", *_REST, "off_cpu"), 0)
    by_layer |= {"launch_path": exposed["launch"]} | {state: exposed[state] for state in _REST}
    for state in (*FRAMEWORK_STATES, "library"):
        inside = samples.states.get(state)
        if inside is None or not states[state]:
            continue
        for name, ns in (("library", inside.kinds_ns.get("library", 0)), ("off_cpu", inside.off_cpu_ns)):
            by_layer[name] += exposed[state] * ns // states[state]
    # the framework gets the rounding rest, so that the parts add up to the exposed time
    by_layer["framework"] = sum(exposed.values()) - sum(by_layer.values())
    return by_layer


def phase_exposed_layers(entry: Phase) -> dict[str, int] | None:
    """Return the `exposed_layers` of a finished entry; None if its device time was not measured."""
    if not entry.exposed_ns:
        return None
    return exposed_layers(entry.exposed_ns, entry.states_ns, entry.taxbreak, entry.samples)
