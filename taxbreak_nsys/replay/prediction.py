"""Predictions: what a scenario makes of each phase's wall time, device idle time and HDBI."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Ints, percentile, union
from taxbreak_nsys.measure.device_time import device_sets
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import pid, thread_slice, tid
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.replay.graphs import Changed
from taxbreak_nsys.replay.scenarios import Scenario, change, layer_shares
from taxbreak_nsys.replay.simulate import Floats, Replayed, replay
from taxbreak_nsys.replay.thread_model import ThreadModel, build
from taxbreak_nsys.replay.typical_delays import Typical
from taxbreak_nsys.replay.work import OpIndex
from taxbreak_nsys.result import Phase, Result

Key = tuple[str, int | None, int | None]
"""(phase label, process id, thread id): which entry of the result."""


@dataclass(frozen=True)
class Prediction:
    """What becomes of one phase entry; times in ns, null with the `reason` where nothing can be predicted.

    `wall_ns` and `idle_ns` are measured, `predicted_*` the model's. `unchanged_error` is how far the replay of
    the phase as it is lies from the measured wall, `loose_error` the same with typical delays in the place of
    each measured one: both as a share of the wall. `graphs` are the CUDA graphs that the scenario launches.
    """

    phase: str
    process: int | None
    thread: int | None
    instances: int
    wall_ns: int
    wall_median_ns: int | None
    idle_ns: int | None
    hdbi: float | None
    predicted_wall_ns: int | None = None
    predicted_wall_median_ns: int | None = None
    predicted_idle_ns: int | None = None
    predicted_hdbi: float | None = None
    saved_share: float | None = None
    unchanged_error: float | None = None
    loose_error: float | None = None
    graphs: int | None = None
    reason: str | None = None

    @property
    def idle_share(self) -> float | None:
        """The part of the predicted wall in which no device that the phase uses is busy."""
        if self.predicted_idle_ns is None or not self.predicted_wall_ns:
            return None
        return self.predicted_idle_ns / self.predicted_wall_ns

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Outcome:
    """What a replay makes of the instances (arrays by instance) and of the layers (by label code and state)."""

    wall: Ints
    idle: Ints
    layer_time: Floats
    graphs: Ints
    in_graphs: Ints


class Replay:
    """The models of one result's threads, ready for scenarios."""

    def __init__(self, result: Result, columns: Measured) -> None:
        """Build a model of every thread that has a phase with measured device time, from the whole report's columns."""
        self.result, self.columns = result, columns
        labels = {label: code for code, label in enumerate(self.columns.instances.labels)}
        self._entries: dict[int, dict[int, Phase]] = {}
        threads = {(pid(t), tid(t)): t for t in set(self.columns.instances.thread.tolist())}
        for entry in result.entries:
            if entry.process is not None and entry.thread is not None and why_not(entry) is None:
                of_thread = self._entries.setdefault(threads[entry.process, entry.thread], {})
                of_thread[labels[entry.phase]] = entry
        self.typical = Typical.of(self.columns, result.t_sys_ns)
        index = OpIndex.of(self.columns)
        self._models = {thread: build(self.columns, index, thread, self.typical) for thread in self._entries}

    @cached_property
    def _device_sets(self) -> list[frozenset[int]]:
        columns = self.columns
        return device_sets(columns.trace.ops, columns.launches, len(columns.instances), columns.launch_instance)

    @cached_property
    def _errors(self) -> dict[Key, tuple[float, float]]:
        """Return (unchanged error, loose error) of each entry."""
        same, loose = self._outcomes(Scenario()), self._outcomes(Scenario(), loose=True)
        return {
            key(entry): (self._off(entry, same), self._off(entry, loose))
            for entry in self.result.entries
            if why_not(entry) is None
        }

    def _off(self, entry: Phase, outcomes: Mapping[int, _Outcome]) -> float:
        predicted = sum(int(outcome.wall[which].sum()) for outcome, which in self._of(entry, outcomes))
        return predicted / entry.wall_ns - 1 if entry.wall_ns else 0.0

    def _of(self, entry: Phase, outcomes: Mapping[int, _Outcome]) -> list[tuple[_Outcome, Ints]]:
        """Return the outcomes of an entry's threads, and which instances are the entry's."""
        instances = self.columns.instances
        code = instances.labels.index(entry.phase)
        found = []
        for thread, outcome in outcomes.items():
            of_thread = (pid(thread), tid(thread)) == (entry.process, entry.thread)
            if entry.combined or of_thread:
                found.append((outcome, np.flatnonzero((instances.thread == thread) & (instances.label == code))))
        return found

    def predict(self, scenario: Scenario) -> tuple[Prediction, ...]:
        """Predict every phase entry under a scenario, in the result's order."""
        outcomes = self._outcomes(scenario)
        return tuple(self._prediction(entry, scenario, outcomes) for entry in self.result.entries)

    def _prediction(self, entry: Phase, scenario: Scenario, outcomes: Mapping[int, _Outcome]) -> Prediction:
        measured = Prediction(
            entry.phase, entry.process, entry.thread, entry.instances, entry.wall_ns, entry.wall_median_ns,
            entry.device.idle_ns, entry.taxbreak.hdbi,
        )  # fmt: skip
        reason = why_not(entry) or why_not_asked(entry, scenario)
        if reason is not None:
            return replace(measured, reason=reason)
        parts = self._of(entry, outcomes)
        walls = np.concatenate([outcome.wall[which] for outcome, which in parts])
        wall = int(walls.sum())
        unchanged, loose = self._errors[key(entry)]
        graphs = sum(int(outcome.graphs[which].sum()) for outcome, which in parts)
        return replace(
            measured,
            predicted_wall_ns=wall,
            predicted_wall_median_ns=percentile(walls, 50),
            predicted_idle_ns=sum(int(outcome.idle[which].sum()) for outcome, which in parts),
            predicted_hdbi=self._hdbi(entry, scenario, parts),
            saved_share=1 - wall / entry.wall_ns if entry.wall_ns else None,
            unchanged_error=unchanged,
            loose_error=loose,
            graphs=graphs if scenario.graphs else None,
        )

    def _hdbi(self, entry: Phase, scenario: Scenario, parts: list[tuple[_Outcome, Ints]]) -> float | None:
        """Return HDBI with each layer's measured figure changed as the scenario changed its host time."""
        layers = entry.taxbreak
        if layers.hdbi is None or layers.t_device_active_ns is None:
            return None
        code = self.columns.instances.labels.index(entry.phase)
        states = np.array([entry.states_ns[state] for state in STATES], float)
        now = sum(outcome.layer_time[code] for outcome, _ in parts)
        framework, library = layer_shares(Scenario(), entry)
        framework_now, library_now = layer_shares(scenario, entry)

        def scaled(figure: int | None, before: Floats, after: Floats) -> float:
            had = float(states @ before)
            return (figure or 0) * float(now @ after) / had if had else 0.0

        launched = entry.launches.kernel + entry.launches.graph
        for outcome, which in parts:
            launched += int(outcome.graphs[which].sum()) - int(outcome.in_graphs[which].sum())
        orchestration = (
            scaled(layers.delta_ft_ns, framework, framework_now)
            + scaled(layers.delta_ct_ns, library, library_now)
            + launched * self.result.t_sys_ns * scenario.launch
        )
        active = layers.t_device_active_ns * scenario.kernels
        return active / (active + orchestration) if active + orchestration else None

    def _outcomes(self, scenario: Scenario, *, loose: bool = False) -> dict[int, _Outcome]:
        found = {}
        for thread, model in self._models.items():
            changed = change(self.columns, model.loosened() if loose else model, scenario, self._entries[thread])
            found[thread] = self._outcome(changed, replay(changed.model, changed.host, changed.scale))
        return found

    def _outcome(self, changed: Changed, replayed: Replayed) -> _Outcome:
        columns, model = self.columns, changed.model
        instances, intervals = columns.instances, columns.intervals
        held = np.flatnonzero(model.piece_interval >= 0)
        of = model.piece_interval[held]
        time = np.diff(model.knots)[held] * changed.host[held] * ~changed.in_graph[held]
        cell = instances.label[intervals.instance[of]] * len(STATES) + intervals.state[of]
        layer_time = np.bincount(cell, weights=time, minlength=len(instances.labels) * len(STATES))

        owner, begin, finish = pieces_now(instances, model, replayed)
        wall = np.zeros(len(instances), np.int64)
        np.add.at(wall, owner, finish - begin)
        idle = wall - self._busy(model, replayed, owner, begin, finish)
        return _Outcome(
            wall, idle, layer_time.reshape(-1, len(STATES)).astype(np.float64), changed.graphs, changed.in_graphs
        )

    def _busy(self, model: ThreadModel, replayed: Replayed, owner: Ints, begin: Ints, finish: Ints) -> Ints:
        """Return for how long a device that the instance uses is busy within each instance.

        Operations that the model does not hold (other threads', other processes') keep their place beside
        what this thread did at the time.
        """
        ops = self.columns.trace.ops
        begun, ended = replayed.at(ops.start - model.origin), replayed.at(ops.end - model.origin)
        begun[model.ops.op], ended[model.ops.op] = replayed.op_start, replayed.op_end
        start, end = np.rint(begun).astype(np.int64), np.rint(ended).astype(np.int64)
        busy = np.zeros(len(self.columns.instances), np.int64)
        sets = [self._device_sets[instance] for instance in owner.tolist()]
        for devices in set(sets):
            of_set = np.array([s == devices for s in sets], bool)
            on = np.isin(ops.device_global, sorted(devices))
            covered = Coverage.of(union(start[on], end[on])).within(begin[of_set], finish[of_set])
            np.add.at(busy, owner[of_set], covered)
        return busy


def pieces_now(instances: Instances, model: ThreadModel, replayed: Replayed) -> tuple[Ints, Ints, Ints]:
    """Return (instance, begin, end) in whole ns of the pieces of phases in a model's window, as replayed."""
    part = thread_slice(instances.piece_thread, model.thread)
    until = int(model.knots[-1])
    start = np.clip(instances.piece_start[part] - model.origin, 0, until)
    end = np.clip(instances.piece_end[part] - model.origin, 0, until)
    begin, finish = (np.rint(replayed.at(moment)).astype(np.int64) for moment in (start, end))
    return instances.piece_instance[part], begin, finish


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
