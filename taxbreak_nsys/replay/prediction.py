"""Predictions of each phase's wall time, device idle time and HDBI under a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from taxbreak_nsys.arrays.intervals import Floats, Ints, percentile
from taxbreak_nsys.measure.device_time import device_sets
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.replay_columns import ReplayColumns, ReplayPart
from taxbreak_nsys.measure.slowest_ranks import slowest_ranks
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.replay.fused_runs import with_fused_runs
from taxbreak_nsys.replay.graphs import Changed, without_left_out
from taxbreak_nsys.replay.outcome import Outcome, idle_ns, instances_within, outcome
from taxbreak_nsys.replay.predicted_phase import (
    FusedPrediction,
    Key,
    Prediction,
    key,
    why_not,
    why_not_asked,
    why_not_captured,
)
from taxbreak_nsys.replay.scenarios import Scenario, change, factor_table, layer_shares
from taxbreak_nsys.replay.simulate import Replayed, replay
from taxbreak_nsys.replay.thread_model import ThreadModel, build
from taxbreak_nsys.replay.typical_delays import Typical
from taxbreak_nsys.replay.work import NEVER, OpIndex
from taxbreak_nsys.result import Phase, Result

OfModel = TypeVar("OfModel")


@dataclass(frozen=True)
class _Model:
    """The model of one stretch of a thread: the numbers of its instances, the thread's phase entries by label code."""

    thread: ThreadModel
    entries: Mapping[int, Phase]
    instances: range


@dataclass(frozen=True)
class _Sums:
    """The sums over the replays of one entry's stretches, ns.

    `walls` has one row for each instance. No sum is below the busy time of the busiest stream, unless the measured sum
    is below it too.
    """

    walls: Ints
    wall: int
    completion: int


class Replay:
    """The models of one result's threads, ready for scenarios."""

    def __init__(self, result: Result, part: ReplayPart | None = None) -> None:
        """Build a model of every thread that has a phase with measured device time.

        `part` is the part of the report to replay; None: the part that the verdicts replay.
        """
        part = part or result.replay_part
        self.result, self.columns = result, part.columns
        self.sampled = part.windows is not None
        self.typical = Typical.of(part, result.t_sys_ns)
        labels = {label: code for code, label in enumerate(self.columns.instances.labels)}
        threads = {(pid(t), tid(t)): t for t in np.unique(self.columns.instances.thread).tolist()}
        entries: dict[int, dict[int, Phase]] = {}
        for entry in result.entries:
            if entry.process is not None and entry.thread is not None and why_not(entry) is None:
                entries.setdefault(threads[entry.process, entry.thread], {})[labels[entry.phase]] = entry
        index = OpIndex.of(self.columns)
        self._models: list[_Model] = []
        for thread, of_thread in entries.items():
            for window in part.windows[thread] if part.windows is not None else (None,):
                model = self._pinned(build(self.columns, index, thread, self.typical, window))
                self._models.append(_Model(model, of_thread, instances_within(self.columns.instances, model)))

    def _pinned(self, model: ThreadModel) -> ThreadModel:
        """Return a model in which a rank that waits for slower ranks keeps waiting until they arrived in the report.

        In these steps a scenario changes this rank alone. In the steps in which this rank is the slowest, its short
        waits in collectives move along with its own work.
        """
        instances = self.columns.instances
        paired = instances.step >= 0
        pinned = np.append(paired & ~slowest_ranks(instances, self.result.step_sums, paired), False)
        instance = self.columns.launch_instance[model.work.launch]
        met = np.where(pinned[instance], model.work.met, NEVER)
        return replace(model, work=replace(model.work, met=met))

    @classmethod
    def of_columns(cls, result: Result, columns: Measured) -> Replay:
        """Build models of a whole report, from the columns behind its result."""
        return cls(result, replace(result.replay_part, columns=ReplayColumns.whole(columns), windows=None))

    @cached_property
    def _device_sets(self) -> list[frozenset[int]]:
        columns = self.columns
        return device_sets(columns.ops, columns.launches, len(columns.instances), columns.launch_instance)

    @cached_property
    def _base(self) -> list[tuple[Changed, Replayed]]:
        return self._run(None)

    @cached_property
    def _unchanged(self) -> list[Outcome]:
        return [self._outcome(model, *replayed) for model, replayed in zip(self._models, self._base, strict=True)]

    @cached_property
    def _errors(self) -> dict[Key, tuple[float, float]]:
        """Return (unchanged error, loose error) of each entry."""
        loose = self._outcomes(self._run(None, loose=True))
        return {
            key(entry): (self._wall_error(entry, self._unchanged), self._wall_error(entry, loose))
            for entry in self.result.entries
            if why_not(entry) is None
        }

    def _wall_error(self, entry: Phase, outcomes: list[Outcome]) -> float:
        """Return the difference between replayed and measured wall time, as a share of the measured one."""
        replayed = sum(int(of_model.wall[which].sum()) for of_model, which in self._entry_stretches(entry, outcomes))
        measured = sum(
            int(of_model.wall[which].sum()) for of_model, which in self._entry_stretches(entry, self._unchanged)
        )
        if not self.sampled:
            measured = entry.wall_ns
        return replayed / measured - 1 if measured else 0.0

    def _entry_stretches(self, entry: Phase, of_models: Sequence[OfModel]) -> list[tuple[OfModel, Ints]]:
        """Return the value of each model with a stretch of an entry, and the indices of the entry's instances in it."""
        return [(of_models[model], which) for model, which in self._parts[key(entry)]]

    @cached_property
    def _parts(self) -> dict[Key, list[tuple[int, Ints]]]:
        """The stretches of each entry: the index of the model, and the indices of the entry's instances in it."""
        instances = self.columns.instances
        code = {label: number for number, label in enumerate(instances.labels)}
        slowest = slowest_ranks(instances, self.result.step_sums, instances.step >= 0)
        by_label: dict[tuple[int, int], list[tuple[int, Ints]]] = {}
        for number, model in enumerate(self._models):
            labels = instances.label[model.instances.start : model.instances.stop]
            for label in np.unique(labels).tolist():
                part = (number, np.flatnonzero(labels == label))
                by_label.setdefault((model.thread.thread, label), []).append(part)
        by_entry = {}
        for entry in self.result.entries:
            parts = [
                part
                for (thread, label), of_thread in by_label.items()
                if label == code[entry.phase]
                and (entry.combined or (pid(thread), tid(thread)) == (entry.process, entry.thread))
                for part in of_thread
            ]
            if entry.ranks is not None:
                firsts = [self._models[number].instances.start for number, _ in parts]
                parts = [(n, which[slowest[first + which]]) for (n, which), first in zip(parts, firsts, strict=True)]
            by_entry[key(entry)] = parts
        return by_entry

    def predict(self, scenario: Scenario, *, in_full: bool = True) -> tuple[Prediction, ...]:
        """Predict every phase entry under a scenario, in the result's order.

        Without `in_full` only the walls and completions are predicted, which is quicker.
        """
        replays = self._run(scenario)
        outcomes = self._outcomes(replays)
        compared = self._without_left_out(replays)
        idle = None
        if in_full:
            idle = [
                idle_ns(self.columns, self._device_sets, changed.model, moments, model.instances)
                for model, (changed, moments) in zip(self._models, replays, strict=True)
            ]
        return tuple(self._prediction(entry, scenario, outcomes, compared, idle) for entry in self.result.entries)

    def predict_fused(self, entry: Phase, runs: KernelRuns) -> FusedPrediction:
        """Predict one thread's phase with each of some runs of its kernels as one kernel.

        What is saved counts over all phases of the thread: where the device goes on, a shorter step moves the begin of
        the next one and saves nothing.
        """
        gone = Scenario(framework=0, library=0, launch=0)
        fused, before, after = 0, [], []
        for number, _ in self._parts[key(entry)]:
            model = self._models[number]
            table = factor_table(gone, model.entries, len(self.columns.instances.labels))
            changed, replayed = with_fused_runs(self.columns, model.thread, runs, table)
            if replayed:
                fused += replayed
                moments = replay(changed.model, changed.host, changed.scale)
                every = np.arange(len(model.instances))
                before.append((self._unchanged[number], every))
                after.append((self._outcome(model, changed, moments), every))
        own = self._entry_stretches(entry, self._unchanged)
        base = _sums(own, own)
        rate = entry.wall_ns / base.wall if self.sampled and base.wall else 1
        return FusedPrediction(
            runs=fused,
            saved_ns=_sums(before, before).completion - _sums(before, after).completion,
            completion_ns=round(base.completion * rate),
        )

    def _without_left_out(self, replays: list[tuple[Changed, Replayed]]) -> list[Outcome]:
        """Return the outcomes without the change, and without the profiler's time that the change leaves out."""
        outcomes = []
        for model, base, unchanged, (changed, _) in zip(
            self._models, self._base, self._unchanged, replays, strict=True
        ):
            if changed.left_out.any():
                without = without_left_out(self.columns, base[0], changed.left_out)
                outcomes.append(self._outcome(model, without, replay(without.model, without.host, without.scale)))
            else:
                outcomes.append(unchanged)
        return outcomes

    def _prediction(
        self,
        entry: Phase,
        scenario: Scenario,
        outcomes: list[Outcome],
        compared: list[Outcome],
        idle: list[Ints] | None,
    ) -> Prediction:
        measured = Prediction(
            phase=entry.phase,
            process=entry.process,
            thread=entry.thread,
            instances=entry.instances,
            replayed_instances=0,
            wall_ns=entry.wall_ns,
            wall_median_ns=entry.wall_median_ns,
            completion_ns=None,
            idle_ns=entry.device.idle_ns,
            hdbi=entry.taxbreak.hdbi,
        )
        reason = why_not(entry) or why_not_asked(entry, scenario)
        if reason is not None:
            return replace(measured, reason=reason)
        before, after = self._entry_stretches(entry, self._unchanged), self._entry_stretches(entry, outcomes)
        replayed = sum(len(which) for _, which in after)
        breaks = sum(int(of_model.breaks[which].sum()) for of_model, which in after)
        measured = replace(measured, replayed_instances=replayed, breaks=breaks if scenario.graphs else None)
        if scenario.graphs and (reason := why_not_captured(breaks / max(replayed, 1))):
            return replace(measured, reason=reason)
        base_sums, sums = _sums(before, before), _sums(before, after)
        rate = entry.wall_ns / base_sums.wall if self.sampled and base_sums.wall else 1
        graphs = sum(int(of_model.graphs[which].sum()) for of_model, which in after)
        median = percentile(sums.walls, 50)
        then_median = percentile(base_sums.walls, 50)
        if self.sampled and then_median and median is not None and entry.wall_median_ns is not None:
            median = round(entry.wall_median_ns * median / then_median)
        left_out = sum(int(of_model.left_out[which].sum()) for of_model, which in after)
        base = _sums(before, self._entry_stretches(entry, compared)).completion
        predicted = replace(
            measured,
            completion_ns=round(base_sums.completion * rate),
            predicted_wall_ns=round(sums.wall * rate),
            predicted_wall_median_ns=median,
            predicted_completion_ns=round(sums.completion * rate),
            saved_share=1 - sums.completion / base if base > 0 else 0.0,
            graphs=graphs if scenario.graphs else None,
            left_out_ns=round(left_out * rate) if scenario.graphs else None,
        )
        if idle is None:
            return predicted
        unchanged, loose = self._errors[key(entry)]
        return replace(
            predicted,
            predicted_idle_ns=round(
                sum(int(ns[which].sum()) for ns, which in self._entry_stretches(entry, idle)) * rate
            ),
            predicted_hdbi=self._hdbi(entry, scenario, before, after),
            unchanged_error=unchanged,
            loose_error=loose,
        )

    def _hdbi(
        self, entry: Phase, scenario: Scenario, before: list[tuple[Outcome, Ints]], after: list[tuple[Outcome, Ints]]
    ) -> float | None:
        """Return HDBI with each layer's measured time changed as the scenario changed its host time.

        The floor of the launch path, T_sys per launch, counts as host work: it scales with the factor of the launch
        calls and with the speed of the CPU.
        """
        layers = entry.taxbreak
        if layers.hdbi is None or layers.t_device_active_ns is None:
            return None
        code = self.columns.instances.labels.index(entry.phase)
        time_before = _layer_time(before, code)
        time_after = _layer_time(after, code)
        framework, library = layer_shares(Scenario(), entry)
        framework_now, library_now = layer_shares(scenario, entry)

        def scaled(time: int | None, share: Floats, share_now: Floats) -> float:
            base = float(time_before @ share)
            return (time or 0) * float(time_after @ share_now) / base if base else 0.0

        launched: float = entry.launches.kernel + entry.launches.graph
        replayed = sum(int(of_model.in_graphs[which].sum()) for of_model, which in after)
        if replayed:
            graphs = sum(int(of_model.graphs[which].sum()) for of_model, which in after)
            rate = entry.instances / max(sum(len(which) for _, which in after), 1)
            launched -= (replayed - graphs) * rate
        orchestration = (
            scaled(layers.delta_ft_ns, framework, framework_now)
            + scaled(layers.delta_ct_ns, library, library_now)
            + launched * self.result.t_sys_ns * scenario.launch / scenario.cpu
        )
        active = layers.t_device_active_ns * scenario.kernels
        return active / (active + orchestration) if active + orchestration else None

    def _run(self, scenario: Scenario | None, *, loose: bool = False) -> list[tuple[Changed, Replayed]]:
        """Replay every stretch; with `loose`, typical delays replace the measured ones; None: without a change.

        A stretch in which the scenario changes nothing (half of no copies) is not replayed again.
        """
        replays = []
        tables: dict[int, Floats] = {}
        for number, model in enumerate(self._models):
            thread = model.thread.loosened() if loose else model.thread
            if thread.thread not in tables:
                labels = len(self.columns.instances.labels)
                tables[thread.thread] = factor_table(scenario or Scenario(), model.entries, labels)
            changed = change(self.columns, thread, scenario or Scenario(), model.entries, tables[thread.thread])
            if scenario is not None and changed.is_as_measured and not scenario.graphs:
                replays.append(self._base[number])
            else:
                replays.append((changed, replay(changed.model, changed.host, changed.scale)))
        return replays

    def _outcomes(self, replays: list[tuple[Changed, Replayed]]) -> list[Outcome]:
        return [
            self._unchanged[number] if replayed is self._base[number] else self._outcome(model, *replayed)
            for number, (model, replayed) in enumerate(zip(self._models, replays, strict=True))
        ]

    def _outcome(self, model: _Model, changed: Changed, replayed: Replayed) -> Outcome:
        return outcome(self.columns, changed, replayed, model.instances)


def _layer_time(parts: list[tuple[Outcome, Ints]], label: int) -> Floats:
    """Return the host time of a phase label by state, over all stretches, ns."""
    return np.asarray(sum(of_model.layer_time[label] for of_model, _ in parts), np.float64)


def _sums(before: list[tuple[Outcome, Ints]], after: list[tuple[Outcome, Ints]]) -> _Sums:
    """Return the sums over an entry's instances under a scenario; `before` has the replays without a change."""
    walls, wall, completion = [], 0, 0
    least_wall, least_completion, busiest = 0, 0, 0.0
    for (unchanged, which), (changed, _) in zip(before, after, strict=True):
        busy = np.floor(changed.busiest[which]).astype(np.int64)
        walls.append(np.maximum(changed.wall[which], np.minimum(unchanged.wall[which], busy)))
        completion += int(changed.completion[which].sum())
        least_wall += int(unchanged.wall[which].sum())
        least_completion += int(unchanged.completion[which].sum())
        busiest += float(changed.busy[which].sum(axis=0).max(initial=0.0))
    joined = np.concatenate(walls) if walls else np.empty(0, np.int64)
    wall = int(joined.sum())
    return _Sums(
        walls=joined,
        wall=max(wall, min(least_wall, int(busiest))),
        completion=max(completion, min(least_completion, int(busiest))),
    )
