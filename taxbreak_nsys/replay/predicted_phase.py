"""The prediction for one phase entry, and the reasons why a phase or a scenario has none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

Key = tuple[str, int | None, int | None]
"""(phase label, process id, thread id) of an entry of the result."""

MOST_BREAKS = 4
"""A step with more waits between its launches is not predicted as CUDA graphs."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one phase entry; times in ns, null with the `reason` if no prediction is possible.

    `wall_ns` and `idle_ns` are measured, `predicted_*` come from the model. `completion_ns` is the wall time and the
    device work for the phase after it (`replay.outcome`); `saved_share` is the share of it that is saved.
    `unchanged_error` is the difference between the replay without a change and the measured wall time, `loose_error`
    the same with typical delays in place of the measured ones; both are shares of the wall time. `replayed_instances`
    of the `instances` were replayed. In these, `graphs` counts the CUDA graphs of the scenario, `breaks` the waits
    between launches; `left_out_ns` is the profiler's own time in steps with graphs: it is neither predicted nor counted
    as saved.
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
        """The share of the predicted wall time in which no device that the phase uses is busy."""
        if self.predicted_idle_ns is None or not self.predicted_wall_ns:
            return None
        return self.predicted_idle_ns / self.predicted_wall_ns

    @property
    def graphs_per_step(self) -> float | None:
        """The number of CUDA graphs that the scenario launches per step."""
        return None if self.graphs is None or not self.replayed_instances else self.graphs / self.replayed_instances

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class FusedPrediction:
    """What fusing the kernels of runs saves of one thread's phase, ns.

    `runs` were replayed and save `saved_ns`; `completion_ns` is that of the whole phase, as in `Prediction`.
    """

    runs: int
    saved_ns: int
    completion_ns: int


def key(entry: Phase | Prediction) -> Key:
    """Return the key that identifies an entry."""
    return entry.phase, entry.process, entry.thread


def why_not(entry: Phase) -> str | None:
    """Return why a phase cannot be predicted; None if it can."""
    if entry.exposed_ns is None:
        return entry.taxbreak.hdbi_reason or "device time not measured"
    return None if entry.wall_ns else "the phase has no wall time"


def why_not_asked(entry: Phase, scenario: Scenario) -> str | None:
    """Return why this scenario cannot be predicted for a phase; None if it can."""
    if scenario.library != scenario.framework and entry.taxbreak.ft_includes_library:
        return (
            "nothing in the report separates library time from framework time (evidence none): give --framework and "
            "--library the same factor, or capture cuBLAS and cuDNN ranges"
        )
    return None


def why_not_captured(breaks_per_step: float) -> str | None:
    """Return why a step with this number of waits cannot be captured as CUDA graphs; None if it can."""
    if breaks_per_step <= MOST_BREAKS:
        return None
    return (
        f"not capturable: the host waits for the device {breaks_per_step:,.0f} times per step between its launches, "
        "and what it waits for may decide what it launches next; no CUDA graph can hold such a wait"
    )
