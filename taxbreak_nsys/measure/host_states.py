"""The state of each host thread at every nanosecond of a phase (method section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.grouped import group_sums
from taxbreak_nsys.arrays.intervals import EMPTY, Coverage, Flags, Intervals, Ints, partition, union
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, KERNEL_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH, Launches
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, HostCalls, Trace, name_flags, runs, thread_slice
from taxbreak_nsys.phases import Instances

STATE = {name: code for code, name in enumerate(name_rules.STATES)}


@dataclass(frozen=True)
class HostIntervals:
    """The host's time inside phase instances, cut by state; sorted by (thread, start); columns of one length.

    `state` is an index into `name_rules.STATES`. `in_os` is the time of the interval in OS calls that do not wait, or
    that lie inside an API call, ns. `exposed` is the time in which no device that the instance uses was busy, ns; it is
    0 until `device_time.with_exposure` fills it.
    """

    start: Ints
    end: Ints
    thread: Ints
    instance: Ints
    state: Ints
    in_os: Ints
    exposed: Ints

    @property
    def duration(self) -> Ints:
        """Duration of each interval, ns."""
        return self.end - self.start

    def by_instance(self, value: Ints, instances: int) -> Ints:
        """Return the sums of a column (ns) as an array (instances, states)."""
        states = len(name_rules.STATES)
        return group_sums(self._cell, value, instances * states).reshape(instances, states)

    @cached_property
    def _cell(self) -> Ints:
        return self.instance * len(name_rules.STATES) + self.state


def host_intervals(trace: Trace, launches: Launches, instances: Instances, *, helping: bool = False) -> HostIntervals:
    """Return the time of each instance's host thread (`helping`: of its helpers) by state; `exposed` is 0."""
    columns: list[tuple[Ints, ...]] = []
    for low, _ in runs(instances.piece_thread):
        thread = int(instances.piece_thread[low])
        pieces, owner = instances.thread_pieces(thread, helping=helping)
        if not len(owner):
            continue
        layers, os_busy = _layers(trace, launches, thread)
        start, end, piece, state = partition(pieces, layers)
        in_os = Coverage.of(os_busy).within(start, end)
        in_os[state == STATE["os_wait"]] = 0
        columns.append((start, end, np.full(len(start), thread, np.int64), owner[piece], state, in_os))
    if not columns:
        empty = EMPTY[0]
        return HostIntervals(
            start=empty, end=empty, thread=empty, instance=empty, state=empty, in_os=empty, exposed=empty
        )
    joined = columns[0] if len(columns) == 1 else map(np.concatenate, zip(*columns, strict=True))
    start, end, on, instance, state, in_os = joined
    return HostIntervals(
        start=start,
        end=end,
        thread=on,
        instance=instance,
        state=state,
        in_os=in_os,
        exposed=np.zeros(len(start), np.int64),
    )


def _layers(trace: Trace, launches: Launches, thread: int) -> tuple[list[Intervals], Intervals]:
    """Return one thread's intervals for each state except `python`, in order of precedence, and its time in the OS."""
    api, calls = trace.api, trace.api.thread_slice(thread)
    start, end, name = api.start[calls], api.end[calls], api.name[calls]
    names = api.names
    sync = name_flags(name_rules.is_synchronisation, names)[name]
    load = name_flags(name_rules.is_module_load, names)[name]

    launched = thread_slice(launches.thread, thread)
    launch_start, launch_end, kind = launches.start[launched], launches.end[launched], launches.kind[launched]
    waited = launches.wait_until[launched]
    is_launch = np.isin(kind, (KERNEL_LAUNCH, GRAPH_LAUNCH, UNMEASURED_GRAPH))
    is_memory = kind == MEMORY_LAUNCH

    in_library = library_intervals(trace, thread)
    os_calls = thread_slice(trace.os_calls.thread, thread)
    os_start, os_end = trace.os_calls.start[os_calls], trace.os_calls.end[os_calls]
    waits = trace.os_calls.flag[os_calls]
    wait_start, wait_end = os_start[waits], os_end[waits]
    enclosed = _contained(wait_start, wait_end, start, end) | _contained(wait_start, wait_end, *in_library)

    ranges = trace.ranges
    part = thread_slice(ranges.thread, thread)
    operator = ranges.is_operator[part]
    layers = [
        union(*_overheads(trace.overheads, thread, profiler=True)),
        union(np.r_[start[sync], launch_start], np.r_[end[sync], waited]),
        union(
            *map(
                np.concatenate,
                zip((start[load], end[load]), _overheads(trace.overheads, thread, profiler=False), strict=True),
            )
        ),
        union(launch_start[is_launch], launch_end[is_launch]),
        union(launch_start[is_memory], launch_end[is_memory]),
        union(wait_start[~enclosed], wait_end[~enclosed]),
        union(*in_library),
        union(start, end),
        union(ranges.start[part][operator], ranges.end[part][operator]),
    ]
    return layers, union(os_start, os_end)


def library_intervals(trace: Trace, thread: int) -> Intervals:
    """Return a thread's library ranges and library calls; they may overlap."""
    ranges = trace.ranges
    part = thread_slice(ranges.thread, thread)
    library = ranges.is_library[part]
    calls = thread_slice(trace.library_calls.thread, thread)
    return (
        np.r_[ranges.start[part][library], trace.library_calls.start[calls]],
        np.r_[ranges.end[part][library], trace.library_calls.end[calls]],
    )


def _overheads(overheads: HostCalls, thread: int, *, profiler: bool) -> Intervals:
    """Return the overheads of a thread, including those recorded for its whole process (TID part 0)."""
    which = (overheads.thread == thread) | (overheads.thread == (thread & PROCESS_MASK))
    which &= overheads.flag == profiler
    return overheads.start[which], overheads.end[which]


def _contained(start: Ints, end: Ints, outer_start: Ints, outer_end: Ints) -> Flags:
    """Flag the intervals that lie inside one of the outer intervals."""
    if not len(outer_start) or not len(start):
        return np.zeros(len(start), bool)
    order = np.argsort(outer_start, kind="stable")
    reach = np.maximum.accumulate(outer_end[order])
    before = np.searchsorted(outer_start[order], start, side="right") - 1
    return (before >= 0) & (reach[np.maximum(before, 0)] >= end)
