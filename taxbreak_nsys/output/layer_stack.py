"""A phase's wall time as a stack of layers with names and colours, shared by the HTML report, figures and traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase

LAYER_OF_STATE = {
    "python": "framework",
    "dispatch": "framework",
    "runtime": "framework",
    "library": "library",
    "launch": "launch_path",
    "memop": "memop",
    "module_load": "module_load",
    "device_wait": "device_wait",
    "os_wait": "os_wait",
    "profiler": "profiler",
}
"""The layer of each host state in charts (method section 4)."""

TITLES = {
    "framework": "framework (ΔFT)",
    "framework_library": "framework + library",
    "library": "library (ΔCT)",
    "launch_path": "launch path",
    "memop": "copies and sets",
    "module_load": "module loading",
    "device_wait": "waiting for the device",
    "os_wait": "waiting in the OS",
    "profiler": "profiler",
    "rest": "in no layer",
    "device": "device busy",
}

# Okabe and Ito's palette, distinguishable for colour-blind readers; grey for time in which the host does no work
COLOURS = {
    "framework": "#0072B2",
    "framework_library": "#0072B2",
    "library": "#E69F00",
    "launch_path": "#D55E00",
    "memop": "#CC79A7",
    "module_load": "#F0E442",
    "device_wait": "#BDBDBD",
    "os_wait": "#909090",
    "profiler": "#606060",
    "rest": "#7A8A99",
    "device": "#009E73",
}
STATE_COLOURS = {
    **{state: COLOURS[layer] for state, layer in LAYER_OF_STATE.items()},
    "dispatch": "#56B4E9",
    "runtime": "#7F7FD5",
}

RANGE_COLOURS = ("#54707F", "#6B8797", "#8299A6", "#93A5B0")
"""Colours of nested NVTX ranges, outermost first; different from the colours of states."""


@dataclass(frozen=True)
class Part:
    """One layer of a phase: its time and the exposed part of it, ns (None: not measured)."""

    key: str
    ns: int
    exposed_ns: int | None

    @property
    def title(self) -> str:
        """The layer's name in charts."""
        return TITLES[self.key]

    @property
    def colour(self) -> str:
        """The layer's colour, as #RRGGBB."""
        return COLOURS[self.key]


def stack_parts(entry: Phase) -> tuple[Part, ...]:
    """Return the layers of a phase in stacking order; their times add up to the wall time.

    The launch path is the whole `launch` state; delta_kt is only its floor. With evidence `samples`, time off the CPU
    is in `rest`. Layers without time are left out; the result is empty if the layers are not measured.
    """
    states, taxbreak = entry.states_ns, entry.taxbreak
    if taxbreak.delta_ft_ns is None:
        return ()
    framework = "framework_library" if taxbreak.ft_includes_library else "framework"
    times = {framework: taxbreak.delta_ft_ns, "library": taxbreak.delta_ct_ns or 0, "launch_path": states["launch"]}
    times |= {key: states[key] for key in ("memop", "module_load", "device_wait", "os_wait")}
    times["profiler"] = states["profiler"]
    times["rest"] = entry.wall_ns - sum(times.values())
    exposed = phase_exposed_layers(entry) or {}
    if "off_cpu" in exposed:
        exposed["rest"] = exposed["off_cpu"]
    return tuple(Part(key, ns, exposed.get(key)) for key, ns in times.items() if ns > 0)


def phase_title(entry: Phase, among: tuple[Phase, ...]) -> str:
    """Return a phase's name in charts, with its thread if `among` has several entries of that label."""
    if sum(other.phase == entry.phase for other in among) == 1:
        return entry.phase
    return f"{entry.phase} (all threads)" if entry.combined else f"{entry.phase} ({entry.process}/{entry.thread})"


def device_busy_ns(entry: Phase) -> int | None:
    """Return the wall time in which a device of the phase is busy, ns; None if it is not measured."""
    return None if entry.device.idle_ns is None else entry.wall_ns - entry.device.idle_ns
