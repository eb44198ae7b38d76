"""The levers: what there is to make faster, each as a scenario of half and of none of it."""

from __future__ import annotations

from dataclasses import dataclass

from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

LIMITLESS = 1e9
"""The speed of a CPU that takes no time."""


@dataclass(frozen=True)
class Lever:
    """One layer or kind of work: `half` is the scenario of half its time, `gone` that of none of it."""

    name: str
    title: str
    half: Scenario
    gone: Scenario
    options: str
    """The options of `whatif` that ask for `half`."""

    def applies(self, entry: Phase) -> bool:
        """Return whether the lever means something for a phase, whose evidence may not separate its layers."""
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
    Lever("framework", "framework time", Scenario(framework=0.5), Scenario(framework=0), "--framework 0.5"),
    Lever("library", "library time", Scenario(library=0.5), Scenario(library=0), "--library 0.5"),
    Lever(
        "framework_library", "framework + library time",
        Scenario(framework=0.5, library=0.5), Scenario(framework=0, library=0), "--framework 0.5 --library 0.5",
    ),
    Lever("launch", "launch call time", Scenario(launch=0.5), Scenario(launch=0), "--launch 0.5"),
    Lever("copy_calls", "time of calls that copy or set", Scenario(copy_calls=0.5), Scenario(copy_calls=0),
          "--copy-calls 0.5"),
    Lever("module_load", "module loading", Scenario(module_load=0.5), Scenario(module_load=0), "--module-load 0.5"),
    Lever("kernels", "kernel time", Scenario(kernels=0.5), Scenario(kernels=0), "--kernels 0.5"),
    Lever("copies", "copy time", Scenario(copies=0.5), Scenario(copies=0), "--copies 0.5"),
)  # fmt: skip
"""In the order that decides between levers that save the same."""

FASTER_CPU = BroadChange("cpu", "a CPU twice as fast", Scenario(cpu=2), "--cpu 2")
GRAPHS = BroadChange("graphs", "CUDA graphs", Scenario(graphs=True), "--graphs")
CHANGES = (FASTER_CPU, GRAPHS)
