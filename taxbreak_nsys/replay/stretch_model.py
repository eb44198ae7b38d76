"""The model of one stretch of a thread with its instances: forecasts of the stretch under scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from taxbreak_nsys.arrays.intervals import Floats, Ints
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.replay.fused_runs import with_fused_runs
from taxbreak_nsys.replay.graphs import Changed, without_left_out
from taxbreak_nsys.replay.outcome import Outcome, StretchParts, layer_time
from taxbreak_nsys.replay.scenarios import Scenario, change, factor_table
from taxbreak_nsys.replay.simulate import replay
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.thread_phases import ThreadPhases

Devices = list[frozenset[int]]
"""The devices that each instance of a report uses."""


@dataclass(frozen=True)
class StretchForecast:
    """What a scenario does to a stretch.

    `compared` is the outcome without the change and without the profiler's time that the change leaves out. `idle` is
    the idle time of each instance and `layer_time` the host time by label code and state, ns; None if not asked for.
    """

    outcome: Outcome
    compared: Outcome
    idle: Ints | None
    layer_time: Floats | None


class StretchModel:
    """The model of one stretch, the thread's phases, and the stretch's instances."""

    def __init__(self, columns: ReplayColumns, thread: ThreadModel, phases: ThreadPhases) -> None:
        """Find the instances of the stretch."""
        self._columns, self.thread, self._phases = columns, thread, phases
        self.parts = StretchParts(columns, thread)

    @cached_property
    def unchanged(self) -> Outcome:
        """The outcome without a change."""
        return self._outcome(self._changed(Scenario()))

    def forecast(self, scenario: Scenario, devices: Devices | None) -> StretchForecast:
        """Return the forecast of a scenario; with `devices`, idle and layer times as well.

        A stretch in which the scenario changes nothing (half of no copies) is not replayed again.
        """
        changed = self._changed(scenario)
        if changed.is_as_measured and not scenario.graphs:
            return StretchForecast(self.unchanged, self.unchanged, *self._measured_details(devices))
        compared = self.unchanged
        if changed.left_out.any():
            measured = self._changed(Scenario())
            compared = self._outcome(without_left_out(self._columns, measured, changed.left_out))
        replayed = replay(changed.model, changed.host, changed.scale)
        outcome = self.parts.outcome(changed, replayed)
        if devices is None:
            return StretchForecast(outcome, compared, None, None)
        idle = self.parts.idle_ns(self._columns, devices, replayed)
        return StretchForecast(outcome, compared, idle, layer_time(self._columns, changed))

    def measured_layer_time(self) -> Floats:
        """Return the host time by label code and state without a change, ns."""
        return layer_time(self._columns, self._changed(Scenario()))

    def loose(self) -> Outcome:
        """Return the outcome without a change, with typical delays in place of the measured ones."""
        return self._outcome(change(self._columns, self.thread.loosened(), Scenario(), self._phases))

    def fused(self, runs: KernelRuns) -> tuple[Outcome, int]:
        """Return the outcome with each of some runs of kernels as one kernel, and the number of runs in the stretch."""
        gone = factor_table(Scenario(framework=0, library=0, launch=0), self._phases)
        changed, fused = with_fused_runs(self._columns, self.thread, runs, gone)
        return self._outcome(changed) if fused else self.unchanged, fused

    def _measured_details(self, devices: Devices | None) -> tuple[Ints | None, Floats | None]:
        if devices is None:
            return None, None
        changed = self._changed(Scenario())
        replayed = replay(changed.model, changed.host, changed.scale)
        return self.parts.idle_ns(self._columns, devices, replayed), layer_time(self._columns, changed)

    def _changed(self, scenario: Scenario) -> Changed:
        return change(self._columns, self.thread, scenario, self._phases)

    def _outcome(self, changed: Changed) -> Outcome:
        return self.parts.outcome(changed, replay(changed.model, changed.host, changed.scale))
