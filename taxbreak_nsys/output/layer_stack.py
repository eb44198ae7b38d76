"""A phase's wall time as a stack of layers, with their names and colours: what every picture of it draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers
from taxbreak_nsys.output.sample_lines import profiler_outside_layers

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
"""The layer that a picture shows a host state in (method section 4)."""

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

# Okabe and Ito's colours, which hold for the colour-blind; what is no work of the host is grey
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
"""Nested NVTX ranges, outermost first: marks are no states, and have no state's colour."""


@dataclass(frozen=True)
class Part:
    """One layer of a phase: its time and how much of that is exposed, ns (None: not measured)."""

    key: str
    ns: int
    exposed_ns: int | None

    @property
    def title(self) -> str:
        """The layer's name for people."""
        return TITLES[self.key]

    @property
    def colour(self) -> str:
        """The layer's colour, as #RRGGBB."""
        return COLOURS[self.key]


def stack_parts(entry: Phase) -> tuple[Part, ...]:
    """Return the layers of a phase in the order in which they are stacked; they add up to its wall time.

    The launch path is the whole `launch` state, of which delta_kt is the floor. Where samples decide, the profiler
    has what they found of it, and time off the CPU is `rest`. Layers without time are left out.
    """
    states, taxbreak = entry.states_ns, entry.taxbreak
    framework = "framework_library" if taxbreak.ft_includes_library else "framework"
    times = {framework: taxbreak.delta_ft_ns, "library": taxbreak.delta_ct_ns or 0, "launch_path": states["launch"]}
    times |= {key: states[key] for key in ("memop", "module_load", "device_wait", "os_wait")}
    times["profiler"] = profiler_outside_layers(entry)
    times["rest"] = entry.wall_ns - sum(times.values())
    exposed = phase_exposed_layers(entry) or {}
    if "off_cpu" in exposed:
        exposed["rest"] = exposed["off_cpu"]
    return tuple(Part(key, ns, exposed.get(key)) for key, ns in times.items() if ns > 0)


def phase_title(entry: Phase, among: tuple[Phase, ...]) -> str:
    """Return a phase's name for people; with its thread where `among` holds others of the same label."""
    if sum(other.phase == entry.phase for other in among) == 1:
        return entry.phase
    return f"{entry.phase} (all threads)" if entry.combined else f"{entry.phase} ({entry.process}/{entry.thread})"


def device_busy_ns(entry: Phase) -> int | None:
    """Return the part of the wall time in which a device that the phase uses is busy; None: not measured."""
    return None if entry.device.idle_ns is None else entry.wall_ns - entry.device.idle_ns
