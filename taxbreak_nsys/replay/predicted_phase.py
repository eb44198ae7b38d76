"""What a prediction says of one phase entry, and why some phases and scenarios have none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

Key = tuple[str, int | None, int | None]
"""(phase label, process id, thread id): which entry of the result."""

MOST_BREAKS = 4
"""With more waits between the launches of a step than this, a capture as CUDA graphs is not predicted."""


@dataclass(frozen=True)
class Prediction:
    """What becomes of one phase entry; times in ns, null with the `reason` where nothing can be predicted.

    `wall_ns` and `idle_ns` are measured, `predicted_*` the model's. `completion_ns` is the wall and what the device
    still works on for the phase after it (`replay.outcome`); `saved_share` is of that. `unchanged_error` is how far the
    replay of the phase as it is lies from the measured wall, `loose_error` the same with typical delays in the place of
    each measured one: both as a share of the wall. `replayed_instances` is how many of the `instances` were replayed.
    `graphs` are the CUDA graphs that the scenario launches in those, `breaks` the waits between their launches, and
    `left_out_ns` is the profiler's own time in steps with graphs: not in the prediction, and not counted as saved.
    """

    phase: str
    process: int | None
    thread: int | None
    instances: int
    replayed_instances: int
    wall_ns: int
    wall_median_ns: int | None
    completion_ns: int | None
    idle_ns: int | None
    hdbi: float | None
    predicted_wall_ns: int | None = None
    predicted_wall_median_ns: int | None = None
    predicted_completion_ns: int | None = None
    predicted_idle_ns: int | None = None
    predicted_hdbi: float | None = None
    saved_share: float | None = None
    unchanged_error: float | None = None
    loose_error: float | None = None
    graphs: int | None = None
    breaks: int | None = None
    left_out_ns: int | None = None
    reason: str | None = None

    @property
    def idle_share(self) -> float | None:
        """The part of the predicted wall in which no device that the phase uses is busy."""
        if self.predicted_idle_ns is None or not self.predicted_wall_ns:
            return None
        return self.predicted_idle_ns / self.predicted_wall_ns

    @property
    def graphs_per_step(self) -> float | None:
        """How many CUDA graphs the scenario launches per step."""
        return None if self.graphs is None or not self.replayed_instances else self.graphs / self.replayed_instances

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain data."""
        return dataclasses.asdict(self)


def key(entry: Phase | Prediction) -> Key:
    """Return what names an entry."""
    return entry.phase, entry.process, entry.thread


def why_not(entry: Phase) -> str | None:
    """Return why nothing can be predicted of a phase, None where it can."""
    if entry.exposed_ns is None:
        return entry.taxbreak.hdbi_reason or "device time not measured"
    return None if entry.wall_ns else "the phase has no wall time"


def why_not_asked(entry: Phase, scenario: Scenario) -> str | None:
    """Return why this scenario cannot be predicted of a phase."""
    if scenario.library != scenario.framework and entry.taxbreak.ft_includes_library:
        return (
            "nothing in the report tells library time from framework time (evidence none): give --framework and "
            "--library the same factor, or capture cuBLAS and cuDNN ranges"
        )
    return None


def why_not_captured(breaks_per_step: float) -> str | None:
    """Return why a step with so many waits between its launches is not captured as CUDA graphs, None where it can."""
    if breaks_per_step <= MOST_BREAKS:
        return None
    return (
        f"not capturable: the host waits for the device {breaks_per_step:,.0f} times per step between its launches, "
        "and what it waits for may decide what it launches next; no CUDA graph can hold such a wait"
    )
