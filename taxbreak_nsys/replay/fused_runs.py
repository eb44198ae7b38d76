"""The scenario in which runs of kernels become one kernel each: their launches after the first are gone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Floats, Ints
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.trace_columns import runs as equal_runs
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.replay.graphs import Changed
from taxbreak_nsys.replay.thread_model import ThreadModel


@dataclass(frozen=True)
class _Places:
    """Runs inside a model's window: the launches `first` to `last` (indices), their ends `low` and `high` (ns)."""

    first: Ints
    last: Ints
    low: Ints
    high: Ints

    def followers(self, launches: int) -> Ints:
        """Return for each launch the run in which it is not the first, -1 for none."""
        step, number = np.zeros(launches + 1, np.int64), np.arange(len(self.first)) + 1
        step[self.first + 1] += number
        step[self.last + 1] -= number
        return np.cumsum(step)[:-1] - 1


def with_fused_runs(
    columns: ReplayColumns, model: ThreadModel, runs: KernelRuns, removed: Floats
) -> tuple[Changed, int]:
    """Return a thread's model with every run as one kernel, and the number of runs in the model's window.

    From the end of a run's first launch to the end of its last, host time takes the factors `removed`: a
    `scenarios.factor_table` in which what a launch needs is 0. The device work of the run's kernels stays. On the
    stream of the first kernel each follows the one before with the gap of kernels that are queued, as what one kernel
    would save on the device is not known.
    """
    places = _places(columns, model, runs)
    cut, span = model.cut_at(places.low, places.high)
    host = np.ones(len(cut.piece_interval))
    inside = np.flatnonzero((span >= 0) & (cut.piece_interval >= 0))
    interval = cut.piece_interval[inside]
    label = columns.instances.label[columns.intervals.instance[interval]]
    host[inside] = removed[label, columns.intervals.state[interval]]
    joined = _joined(columns, cut.without_full_queue(places.low, places.high), places)
    return Changed.of(columns, joined, host=host), len(places.first)


def _places(columns: ReplayColumns, model: ThreadModel, runs: KernelRuns) -> _Places:
    """Return the runs of the model's thread whose launches all lie in its window."""
    part = thread_slice(columns.launches.thread, model.thread)
    start, end = columns.launches.start[part], columns.launches.end[part]
    own = runs.keep((runs.thread == model.thread) & (runs.first >= model.origin))
    first, last = np.searchsorted(start, own.first), np.searchsorted(start, own.last)
    held = last < len(start)
    first, last, own = first[held], last[held], own.keep(held)
    held = (start[first] == own.first) & (start[last] == own.last)
    first, last = first[held], last[held]
    whole = end[last] - model.origin <= model.knots[-1]
    first, last = first[whole], last[whole]
    return _Places(first + part.start, last + part.start, end[first] - model.origin, end[last] - model.origin)


def _joined(columns: ReplayColumns, model: ThreadModel, places: _Places) -> ThreadModel:
    """Return the model in which the kernels of a run are launched with its first one, on the stream of that one."""
    work = model.work
    if not len(work) or not len(places.first):
        return model
    run = np.where(work.own, places.followers(len(columns.launches))[work.launch], -1)
    leads = np.full(len(columns.launches), -1, np.int64)
    leads[places.first] = np.arange(len(places.first))
    leading = np.where(work.own, leads[work.launch], -1)
    leader = np.flatnonzero(leading >= 0)
    anchor, lane = np.zeros(len(places.first), np.int64), np.full(len(places.first), -1, np.int64)
    anchor[leading[leader]], lane[leading[leader]] = model.anchor[leader], work.lane[leader]
    joins = (run >= 0) & (lane[run] == work.lane)
    anchors = np.where(joins, anchor[run], model.anchor)
    # another thread may launch to the stream between the kernels of a run: anchors on a lane never decrease
    for low, high in equal_runs(work.lane):
        anchors[low:high] = np.maximum.accumulate(anchors[low:high])
    return replace(model, anchor=anchors, latency=np.where(joins, 0, model.latency))
