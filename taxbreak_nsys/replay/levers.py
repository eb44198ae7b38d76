"""The levers: layers and kinds of work that can be made faster, each with two scenarios, half its time and none."""

from __future__ import annotations

from dataclasses import dataclass

from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

LIMITLESS = 1e9
"""The speed of a CPU that takes no time."""


@dataclass(frozen=True)
class Lever:
    """One layer or kind of work: in scenario `half` it takes half its time, in scenario `gone` no time."""

    name: str
    title: str
    half: Scenario
    gone: Scenario
    options: str
    """The options of `whatif` for the scenario `half`."""

    def applies(self, entry: Phase) -> bool:
        """Return whether the lever applies to a phase: its evidence may not separate framework from library."""
        together = entry.taxbreak.ft_includes_library
        if self.name == "framework_library":
            return together
        return not (together and self.name in ("framework", "library"))


@dataclass(frozen=True)
class BroadChange:
    """A change that works on several layers at once, beside the levers: a faster CPU, CUDA graphs."""

    name: str
    title: str
    scenario: Scenario
    options: str


DEVICE_LEVERS = ("kernels", "copies")

LEVERS = (
    Lever(
        name="framework",
        title="framework time",
        half=Scenario(framework=0.5),
        gone=Scenario(framework=0),
        options="--framework 0.5",
    ),
    Lever(
        name="library",
        title="library time",
        half=Scenario(library=0.5),
        gone=Scenario(library=0),
        options="--library 0.5",
    ),
    Lever(
        name="framework_library",
        title="framework + library time",
        half=Scenario(framework=0.5, library=0.5),
        gone=Scenario(framework=0, library=0),
        options="--framework 0.5 --library 0.5",
    ),
    Lever(
        name="launch",
        title="launch call time",
        half=Scenario(launch=0.5),
        gone=Scenario(launch=0),
        options="--launch 0.5",
    ),
    Lever(
        name="copy_calls",
        title="time of calls that copy or set",
        half=Scenario(copy_calls=0.5),
        gone=Scenario(copy_calls=0),
        options="--copy-calls 0.5",
    ),
    Lever(
        name="module_load",
        title="module loading",
        half=Scenario(module_load=0.5),
        gone=Scenario(module_load=0),
        options="--module-load 0.5",
    ),
    Lever(
        name="kernels",
        title="kernel time",
        half=Scenario(kernels=0.5),
        gone=Scenario(kernels=0),
        options="--kernels 0.5",
    ),
    Lever(
        name="copies",
        title="copy time",
        half=Scenario(copies=0.5),
        gone=Scenario(copies=0),
        options="--copies 0.5",
    ),
)
"""The order decides between levers with equal savings."""

FASTER_CPU = BroadChange("cpu", "a CPU twice as fast", Scenario(cpu=2), "--cpu 2")
GRAPHS = BroadChange("graphs", "CUDA graphs", Scenario(graphs=True), "--graphs")
CHANGES = (FASTER_CPU, GRAPHS)
