"""The levers: what there is to make faster, each as a scenario of half and of none of it."""

from __future__ import annotations

from dataclasses import dataclass

from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

LIMITLESS = 1e9
"""The speed of a CPU that takes no time."""


@dataclass(frozen=True)
class Lever:
    """Something to work on: `half` is the scenario of half its time, `gone` that of none (null: no such thing)."""

    name: str
    title: str
    half: Scenario | None
    gone: Scenario | None

    def applies(self, entry: Phase) -> bool:
        """Tell whether the lever means something for a phase: its layers may not be told apart."""
        together = entry.taxbreak.ft_includes_library
        if self.name == "framework_library":
            return together
        return not (together and self.name in ("framework", "library"))


DEVICE_LEVERS = ("kernels", "copies")

LEVERS = (
    Lever("framework", "framework time", Scenario(framework=0.5), Scenario(framework=0)),
    Lever("library", "library time", Scenario(library=0.5), Scenario(library=0)),
    Lever(
        "framework_library", "framework + library",
        Scenario(framework=0.5, library=0.5), Scenario(framework=0, library=0),
    ),
    Lever("launch", "launch call time", Scenario(launch=0.5), Scenario(launch=0)),
    Lever("kernels", "kernel time", Scenario(kernels=0.5), Scenario(kernels=0)),
    Lever("copies", "copy time", Scenario(copies=0.5), Scenario(copies=0)),
    Lever("cpu", "CPU time", Scenario(cpu=2), Scenario(cpu=LIMITLESS)),
    Lever("graphs", "CUDA graphs", None, Scenario(graphs=True)),
)  # fmt: skip
