"""Predictions of each phase's wall time, device idle time and HDBI under a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Floats, Ints, percentile
from taxbreak_nsys.measure.device_time import device_sets
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.replay_columns import ReplayColumns, ReplayPart
from taxbreak_nsys.measure.slowest_ranks import slowest_ranks
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.replay.entry_sums import EntrySums
from taxbreak_nsys.replay.event_records import with_records
from taxbreak_nsys.replay.outcome import Outcome
from taxbreak_nsys.replay.predicted_phase import (
    FusedPrediction,
    Key,
    Prediction,
    key,
    why_not,
    why_not_asked,
    why_not_captured,
)
from taxbreak_nsys.replay.scenarios import Scenario, layer_shares
from taxbreak_nsys.replay.stretch_model import StretchForecast, StretchModel
from taxbreak_nsys.replay.thread_model import ThreadModel, build
from taxbreak_nsys.replay.thread_phases import ThreadPhases
from taxbreak_nsys.replay.typical_delays import Typical
from taxbreak_nsys.replay.work import NEVER, OpIndex
from taxbreak_nsys.result import Phase, Result

OfModel = TypeVar("OfModel")


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
        index, pinned = OpIndex.of(self.columns), self._pinned_instances()
        self._sums_of_entries: dict[Key, EntrySums] = {}
        self._models: list[StretchModel] = []
        for thread, of_thread in entries.items():
            phases = ThreadPhases(of_thread, len(labels))
            for window in part.windows[thread] if part.windows is not None else (None,):
                model = self._pinned(build(self.columns, index, thread, self.typical, window), pinned)
                self._models.append(StretchModel(self.columns, model, phases))

    def _pinned_instances(self) -> Flags:
        """Flag the instances in which the rank waits for slower ranks; the last flag is for no instance."""
        instances = self.columns.instances
        paired = instances.step >= 0
        return np.append(paired & ~slowest_ranks(instances, self.result.step_sums, paired), False)

    def _pinned(self, model: ThreadModel, pinned: Flags) -> ThreadModel:
        """Return a model in which a rank that waits for slower ranks keeps waiting until they arrived in the report.

        In these steps a scenario changes this rank alone. In the steps in which this rank is the slowest, its short
        waits in collectives move along with its own work.
        """
        instance = self.columns.launch_instance[model.work.launch]
        met = np.where(pinned[instance], model.work.met, NEVER)
        return replace(model, work=replace(model.work, met=met))

    @classmethod
    def of_columns(cls, result: Result, columns: Measured) -> Replay:
        """Build models of a whole report, from the columns behind its result."""
        part = result.replay_part
        whole = with_records(ReplayColumns.whole(columns), part.event_waits)
        return cls(result, replace(part, columns=whole, windows=None))

    @cached_property
    def _device_sets(self) -> list[frozenset[int]]:
        columns = self.columns
        return device_sets(columns.ops, columns.launches, len(columns.instances), columns.launch_instance)

    @cached_property
    def _unchanged(self) -> list[Outcome]:
        return [model.unchanged for model in self._models]

    @cached_property
    def _base_layer_times(self) -> list[Floats]:
        return [model.measured_layer_time() for model in self._models]

    def _base_sums(self, entry: Phase) -> EntrySums:
        """Return the sums of an entry without a change."""
        where = key(entry)
        if where not in self._sums_of_entries:
            unchanged = self._entry_stretches(entry, self._unchanged)
            self._sums_of_entries[where] = EntrySums.of(unchanged, unchanged)
        return self._sums_of_entries[where]

    @cached_property
    def _errors(self) -> dict[Key, tuple[float, float]]:
        """Return (unchanged error, loose error) of each entry."""
        loose = [model.loose() for model in self._models]
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
            labels = instances.label[model.parts.numbers.start : model.parts.numbers.stop]
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
                firsts = [self._models[number].parts.numbers.start for number, _ in parts]
                parts = [(n, which[slowest[first + which]]) for (n, which), first in zip(parts, firsts, strict=True)]
            by_entry[key(entry)] = parts
        return by_entry

    def predict(self, scenario: Scenario, *, in_full: bool = True) -> tuple[Prediction, ...]:
        """Predict every phase entry under a scenario, in the result's order.

        Without `in_full` only the walls and completions are predicted, which is quicker.
        """
        devices = self._device_sets if in_full else None
        forecasts = [model.forecast(scenario, devices) for model in self._models]
        return tuple(self._prediction(entry, scenario, forecasts, in_full=in_full) for entry in self.result.entries)

    def predict_fused(self, entry: Phase, runs: KernelRuns) -> FusedPrediction:
        """Predict one thread's phase with each of some runs of its kernels as one kernel.

        What is saved counts over all phases of the thread: where the device goes on, a shorter step moves the begin of
        the next one and saves nothing.
        """
        fused, before, after = 0, [], []
        for number, _ in self._parts[key(entry)]:
            model = self._models[number]
            outcome, replayed = model.fused(runs)
            if replayed:
                fused += replayed
                every = np.arange(len(model.parts.numbers))
                before.append((model.unchanged, every))
                after.append((outcome, every))
        base = self._base_sums(entry)
        rate = entry.wall_ns / base.wall if self.sampled and base.wall else 1
        return FusedPrediction(
            runs=fused,
            saved_ns=EntrySums.of(before, before).completion - EntrySums.of(before, after).completion,
            completion_ns=round(base.completion * rate),
        )

    def _prediction(
        self, entry: Phase, scenario: Scenario, forecasts: list[StretchForecast], *, in_full: bool
    ) -> Prediction:
        reason = why_not(entry) or why_not_asked(entry, scenario)
        own = self._entry_stretches(entry, forecasts)
        before = self._entry_stretches(entry, self._unchanged)
        after = [(forecast.outcome, which) for forecast, which in own]
        replayed = 0 if reason is not None else sum(len(which) for _, which in after)
        breaks, graphs, left_out = None, None, None
        if scenario.graphs and reason is None:
            breaks, graphs, left_out = (
                sum(int(getattr(of_model, name)[which].sum()) for of_model, which in after)
                for name in ("breaks", "graphs", "left_out")
            )
            reason = why_not_captured(breaks / max(replayed, 1))
        measured = Prediction(
            phase=entry.phase,
            process=entry.process,
            thread=entry.thread,
            instances=entry.instances,
            replayed_instances=replayed,
            wall_ns=entry.wall_ns,
            wall_median_ns=entry.wall_median_ns,
            completion_ns=None,
            idle_ns=entry.device.idle_ns,
            hdbi=entry.taxbreak.hdbi,
            breaks=breaks,
            reason=reason,
        )
        if reason is not None:
            return measured
        base_sums = self._base_sums(entry)
        sums = base_sums if _same(before, after) else EntrySums.of(before, after)
        rate = entry.wall_ns / base_sums.wall if self.sampled and base_sums.wall else 1
        median = percentile(sums.walls, 50)
        then_median = percentile(base_sums.walls, 50)
        if self.sampled and then_median and median is not None and entry.wall_median_ns is not None:
            median = round(entry.wall_median_ns * median / then_median)
        least = [(forecast.compared, which) for forecast, which in own]
        base = (base_sums if _same(before, least) else EntrySums.of(before, least)).completion
        predicted = replace(
            measured,
            completion_ns=round(base_sums.completion * rate),
            predicted_wall_ns=round(sums.wall * rate),
            predicted_wall_median_ns=median,
            predicted_completion_ns=round(sums.completion * rate),
            saved_share=1 - sums.completion / base if base > 0 else 0.0,
            graphs=graphs,
            left_out_ns=round(left_out * rate) if left_out is not None else None,
        )
        if not in_full:
            return predicted
        unchanged, loose = self._errors[key(entry)]
        return replace(
            predicted,
            predicted_idle_ns=round(sum(int(f.idle[which].sum()) for f, which in own if f.idle is not None) * rate),
            predicted_hdbi=self._hdbi(entry, scenario, own),
            unchanged_error=unchanged,
            loose_error=loose,
        )

    def _hdbi(self, entry: Phase, scenario: Scenario, forecasts: list[tuple[StretchForecast, Ints]]) -> float | None:
        """Return HDBI with each layer's measured time changed as the scenario changed its host time.

        The floor of the launch path, T_sys per launch, counts as host work: it scales with the factor of the launch
        calls and with the speed of the CPU.
        """
        layers = entry.taxbreak
        if layers.hdbi is None or layers.t_device_active_ns is None:
            return None
        code = self.columns.instances.labels.index(entry.phase)
        base_times = [times for times, _ in self._entry_stretches(entry, self._base_layer_times)]
        times_now = [forecast.layer_time for forecast, _ in forecasts if forecast.layer_time is not None]
        time_before, time_after = (
            np.asarray(sum(times[code] for times in of_models), np.float64) for of_models in (base_times, times_now)
        )
        framework, library = layer_shares(Scenario(), entry)
        framework_now, library_now = layer_shares(scenario, entry)

        def scaled(time: int | None, share: Floats, share_now: Floats) -> float:
            base = float(time_before @ share)
            return (time or 0) * float(time_after @ share_now) / base if base else 0.0

        launched: float = entry.launches.kernel + entry.launches.graph
        replayed = sum(int(forecast.outcome.in_graphs[which].sum()) for forecast, which in forecasts)
        if replayed:
            graphs = sum(int(forecast.outcome.graphs[which].sum()) for forecast, which in forecasts)
            rate = entry.instances / max(sum(len(which) for _, which in forecasts), 1)
            launched -= (replayed - graphs) * rate
        orchestration = (
            scaled(layers.delta_ft_ns, framework, framework_now)
            + scaled(layers.delta_ct_ns, library, library_now)
            + launched * self.result.t_sys_ns * scenario.launch / scenario.cpu
        )
        active = layers.t_device_active_ns * scenario.kernels
        return active / (active + orchestration) if active + orchestration else None


def _same(before: list[tuple[Outcome, Ints]], after: list[tuple[Outcome, Ints]]) -> bool:
    """Return whether no stretch of an entry was replayed again."""
    return all(one is other for (one, _), (other, _) in zip(before, after, strict=True))
