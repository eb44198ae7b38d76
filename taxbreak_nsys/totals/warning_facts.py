"""Counts for the warnings and for work outside the phases, added piece by piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums
from taxbreak_nsys.arrays.intervals import Flags, Ints, distinct
from taxbreak_nsys.measure.clock_lag import ClockLag
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import (
    GRAPH_LAUNCH,
    KERNEL_LAUNCH,
    MEMORY_LAUNCH,
    UNMEASURED_GRAPH,
    before_launch,
)
from taxbreak_nsys.model.trace_columns import KERNEL, PROCESS_MASK, DeviceOps, Ranges
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.result import Outside


@dataclass(frozen=True)
class Piece:
    """One piece of a report: its columns, and flags for the rows that are counted with it.

    `index` numbers its instances in the whole report. `own` flags the launches that no other piece counts, `own_ops`
    their operations and the operations without a launch in the report. Rows of the host's tables that start before
    `since` (ns) were already in an earlier piece. No row of a later piece starts before `settled` (ns; None in the last
    piece).
    """

    columns: Measured
    index: Ints
    own: Flags
    own_ops: Flags
    since: int
    settled: int | None


class WarningFacts:
    """Counts for the warnings and for work outside the phases."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._first = _first_instances(entries.instances)
        self._last_range: dict[int, tuple[int, int]] = {}
        self._lone_after: dict[int, int] = {}
        self._device_end: dict[int, int] = {}
        self._outside = np.zeros(6, np.int64)
        self._all_kernels = 0
        self.launches = 0
        self.operator_ranges, self.library_ranges, self.library_calls = 0, 0, 0
        self.early_kernels = 0
        self.clock = ClockLag()
        self.lone_by_instance = np.zeros(len(entries.instances), np.int64)
        """By instance, the number of kernel launch calls without a kernel in the report."""
        self.has_os_calls = False
        self.begun_inside: set[int] = set()
        """Numbers of the first instances in which kernels run whose launch came before the capture."""
        self._queued = GroupSums("calls", "waited")

    def add(self, piece: Piece, launch_entry: Ints) -> None:
        """Add a piece, with the entry of each of its launches."""
        columns, launches = piece.columns, piece.columns.launches
        self.launches += int(piece.own.sum())
        ranges = columns.trace.ranges
        fresh = ranges.start >= piece.since
        self.operator_ranges += int(np.sum(ranges.is_operator & fresh))
        self.library_ranges += int(np.sum(ranges.is_library & fresh))
        self.library_calls = len(columns.trace.library_calls.start)
        self.early_kernels += int(np.sum(before_launch(launches) & piece.own))
        self.clock.add(columns.trace, launches, piece.own)
        self.has_os_calls = self.has_os_calls or len(columns.trace.os_calls.start) > 0
        waited = launches.wait_until - launches.start
        full = (launches.kind == KERNEL_LAUNCH) & (waited > 0) & (launch_entry >= 0)
        self._queued.add(launch_entry[full], calls=1, waited=waited[full])
        self._add_outside(piece)
        self._add_lone(columns, piece.index)
        self._add_ends(columns.trace.ops, columns.trace.ranges)

    def _add_outside(self, piece: Piece) -> None:
        columns, ops = piece.columns, piece.columns.trace.ops
        kind, out = columns.launches.kind, piece.own & (columns.launch_instance < 0)
        out_op = piece.own_ops & (columns.op_instance < 0)
        kernel = ops.kind == KERNEL
        orphan = piece.own_ops & (columns.launches.of_op < 0) & kernel
        duration = ops.end - ops.start
        self._outside += (
            np.sum(out & (kind == KERNEL_LAUNCH)),
            np.sum(out & np.isin(kind, (GRAPH_LAUNCH, UNMEASURED_GRAPH))),
            np.sum(out & (kind == MEMORY_LAUNCH)),
            np.sum(out_op & kernel),
            np.sum(orphan),
            duration[out_op & ops.computes].sum(),
        )
        self._all_kernels += int(duration[piece.own_ops & ops.computes].sum())
        for process, (first, start, end) in self._first.items():
            stray = ops.start[orphan & (ops.process == process)] if orphan.any() else ops.start[:0]
            if np.any((stray >= start) & (stray < end)):
                self.begun_inside.add(first)

    def _add_lone(self, columns: Measured, numbers: Ints) -> None:
        """Count kernel launch calls without a kernel; `numbers` are the numbers of the instances in the report."""
        api = columns.trace.api
        lone = api.named(name_rules.is_kernel_launch)
        lone[columns.launches.api] = False
        index = np.flatnonzero(lone)
        if not len(index):
            return
        thread, start = api.thread[index], api.start[index]
        inside = columns.instances.at(thread, start)
        self.lone_by_instance[numbers] += np.bincount(inside[inside >= 0], minlength=len(numbers))
        for thread_id in np.unique(thread).tolist():
            last = int(start[thread == thread_id].max())
            self._lone_after[thread_id] = max(self._lone_after.get(thread_id, last), last)

    def _add_ends(self, ops: DeviceOps, ranges: Ranges) -> None:
        for process, end in _by_process(ops.process, ops.end):
            last = int(end.max())
            self._device_end[process] = max(self._device_end.get(process, last), last)
        for process, end in _by_process(ranges.thread & PROCESS_MASK, ranges.end):
            last = int(end.max())
            known, count = self._last_range.get(process, (last, 0))
            # Rows that overlap two pieces are counted twice; that is fine, we only need "more than one".
            same = int(np.sum(end == max(known, last)))
            self._last_range[process] = (last, same) if last > known else (known, max(count, same))

    @property
    def lone_launches(self) -> int:
        """The number of kernel launch calls inside phases without a kernel in the report."""
        return int(self.lone_by_instance.sum())

    @property
    def outside(self) -> Outside:
        """Launches and device work outside the phases."""
        kernel, graph, memory, kernels, orphans, ns = self._outside.tolist()
        share = ns / self._all_kernels if self._all_kernels else None
        return Outside(
            kernel_launches=kernel,
            graph_launches=graph,
            memory_launches=memory,
            kernels=kernels,
            kernels_without_launch=orphans,
            kernel_sum_ns=ns,
            share=share,
        )

    @property
    def queued(self) -> dict[int, tuple[int, int]]:
        """By entry (number of kernel launches that waited for room in the launch queue, their total wait in ns)."""
        return {entry: (row["calls"], row["waited"]) for entry, row in self._queued.table().items()}

    @property
    def ended_inside(self) -> set[int]:
        """Numbers of the instances that the end of the capture cuts."""
        instances, ended = self._entries.instances, set[int]()
        process = instances.thread & PROCESS_MASK
        for process_id in np.unique(process).tolist():
            members = np.flatnonzero(process == process_id)
            end, count = self._last_range.get(process_id, (0, 0))
            # nsys closes all open ranges at the same moment, when the process or the capture ends
            if count > 1:
                ended |= set(members[instances.end[members] == end].tolist())
            last = members[np.argmax(instances.end[members])]
            lone = self._lone_after.get(int(instances.thread[last]))
            if lone is not None and lone >= instances.start[last] and lone > self._device_end.get(process_id, 0):
                ended.add(int(last))
        return ended


def _first_instances(instances: Instances) -> dict[int, tuple[int, int, int]]:
    """Return the first instance of each process: (number, start, end)."""
    by_process = {}
    process = instances.thread & PROCESS_MASK
    for process_id in np.unique(process).tolist():
        members = np.flatnonzero(process == process_id)
        first = int(members[np.argmin(instances.start[members])])
        by_process[process_id] = (first, int(instances.start[first]), int(instances.end[first]))
    return by_process


def _by_process(process: Ints, values: Ints) -> list[tuple[int, Ints]]:
    processes = distinct(process)
    if len(processes) == 1:
        return [(processes[0], values)]
    return [(process_id, values[process == process_id]) for process_id in processes]
