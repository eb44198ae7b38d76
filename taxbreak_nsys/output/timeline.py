"""Single intervals for pictures: the call or range around each host interval, and device operations in lanes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints, innermost, parents, percentile
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.measure.library_launches import launch_kernel_names
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.trace_columns import runs, thread_slice

_IN_API = tuple(STATE[name] for name in ("device_wait", "launch", "memop", "module_load", "runtime"))


@dataclass(frozen=True)
class Details:
    """The call, range, kernel and launch of each host interval; columns over `columns.intervals`.

    `name` and `kernel` are codes into `names`, -1 for none: the API call, library range or operator that the
    interval lies in, and the first kernel of its launch. `launch` is the index of that launch, -1 for none.
    """

    name: Ints
    kernel: Ints
    launch: Ints
    names: tuple[str, ...]


def timeline_details(columns: Measured) -> Details:
    """Name the host intervals."""
    intervals, trace, launches = columns.intervals, columns.trace, columns.launches
    count = len(intervals.start)
    name, launch = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    api_base, range_base = len(trace.ops.names), len(trace.ops.names) + len(trace.api.names)
    launch_of_call = np.full(len(trace.api), -1, np.int64)
    launch_of_call[launches.api] = np.arange(len(launches))
    in_api = np.isin(intervals.state, _IN_API)
    library = trace.ranges.is_library
    for low, high in runs(intervals.thread):
        thread = int(intervals.thread[low])
        mine = np.arange(low, high)
        calls = trace.api.thread_slice(thread)
        inside = mine[in_api[low:high]]
        call = _holder(trace.api.start[calls], trace.api.end[calls], intervals.start[inside])
        inside, call = inside[call >= 0], call[call >= 0] + calls.start
        name[inside] = trace.api.name[call] + api_base
        launch[inside] = launch_of_call[call]
        part = thread_slice(trace.ranges.thread, thread)
        for state, chosen in ((STATE["library"], library[part]), (STATE["dispatch"], trace.ranges.is_operator[part])):
            held = np.flatnonzero(chosen) + part.start
            at = mine[intervals.state[low:high] == state]
            if not len(held) or not len(at):
                continue
            start, end = trace.ranges.start[held], trace.ranges.end[held]
            found = innermost(start, end, parents(start, end), intervals.start[at])
            name[at[found >= 0]] = trace.ranges.name[held[found[found >= 0]]] + range_base
    kernel_of_launch = launch_kernel_names(trace, launches)
    kernel = np.where(launch >= 0, kernel_of_launch[np.maximum(launch, 0)], -1) if len(launches) else launch
    return Details(name, kernel, launch, (*trace.ops.names, *trace.api.names, *trace.ranges.names))


def _holder(start: Ints, end: Ints, moment: Ints) -> Ints:
    """Return the interval that holds each moment, of intervals that do not overlap; -1 for none."""
    if not len(start):
        return np.full(len(moment), -1, np.int64)
    at = np.searchsorted(start, moment, side="right") - 1
    return np.where((at >= 0) & (end[np.maximum(at, 0)] > moment), at, -1)


def lanes(group: Ints, start: Ints, end: Ints) -> Ints:
    """Return a lane for each interval such that those of one group and lane do not overlap.

    Each takes the lowest free lane in order of start; where nothing overlaps all are in lane 0.
    """
    return LaneAllocator().lanes(group, start, end)


class LaneAllocator:
    """Gives lanes to intervals as `lanes` does, over several calls: later intervals start later."""

    def __init__(self) -> None:
        self._busy: dict[int, list[tuple[int, int]]] = {}
        self._free: dict[int, list[int]] = {}

    def lanes(self, group: Ints, start: Ints, end: Ints, *, longest_first: bool = False) -> Ints:
        """Return the lanes of some more intervals; of those that start together the shortest, or longest, is first."""
        result = np.zeros(len(start), np.int64)
        order = np.lexsort((-end if longest_first else end, start, group))
        for low, high in runs(group[order]):
            of_group = order[low:high]
            key = int(group[of_group[0]])
            busy, free = self._busy.setdefault(key, []), self._free.setdefault(key, [])
            reach = np.maximum.accumulate(end[of_group])
            occupied = max((until for until, _ in busy), default=NEVER) > start[of_group[0]]
            if not occupied and not np.any(start[of_group][1:] < reach[:-1]):
                free[:] = range(1, max(len(busy) + len(free), 1))
                busy[:] = [(int(reach[-1]), 0)]
                continue
            times = zip(of_group.tolist(), start[of_group].tolist(), end[of_group].tolist(), strict=True)
            for index, begin, stop in times:
                while busy and busy[0][0] <= begin:
                    heapq.heappush(free, heapq.heappop(busy)[1])
                lane = heapq.heappop(free) if free else len(busy)
                result[index] = lane
                heapq.heappush(busy, (stop, lane))
        return result


@dataclass(frozen=True)
class TimelineRows:
    """Device operations in rows that a picture draws: one a stream, or several where its operations overlap.

    `row` is the row of each operation; `stream`, `lane`, `process` and `device` describe the rows; `number`
    numbers the streams of a (process, device) from 1.
    """

    row: Ints
    stream: Ints
    lane: Ints
    process: Ints
    device: Ints
    number: Ints

    def title(self, row: int) -> str:
        """Return a row's name for people."""
        return row_title(int(self.device[row]), int(self.number[row]), int(self.lane[row]))


def row_title(device: int, number: int, lane: int) -> str:
    """Return the name of a row of device operations for people."""
    return f"GPU {device}, stream {number}" + (f" (overlap {lane})" if lane else "")


class StreamNumbers:
    """Numbers the streams of each (process, device) from 1, as they turn up over the pieces of a report."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], dict[int, int]] = {}

    def number(self, process: int, device: int, stream: int) -> int:
        """Return the number of a stream; its code rises in the order in which streams turn up."""
        known = self._numbers.setdefault((process, device), {})
        return known.setdefault(stream, len(known) + 1)


def device_rows(columns: Measured, streams: StreamNumbers) -> TimelineRows:
    """Arrange the device operations of a piece in rows; `streams` keeps the numbers of streams over the pieces."""
    ops = columns.trace.ops
    lane = lanes(ops.stream, ops.start, ops.end)
    keys, row = np.unique(np.stack([ops.process, ops.device, ops.stream, lane]), axis=1, return_inverse=True)
    process, device, stream = keys[0], keys[1], keys[2]
    places = zip(process.tolist(), device.tolist(), stream.tolist(), strict=True)
    number = np.array([streams.number(*place) for place in places], np.int64)
    return TimelineRows(
        row=np.asarray(row, np.int64).reshape(-1), stream=stream, lane=keys[3],
        process=process, device=device, number=number,
    )  # fmt: skip


def stands_out(wall: Ints) -> Flags:
    """Tell which steps stand out by their wall time (ns): beyond Tukey's fences and 5 % from the median.

    Fences are 1.5 interquartile ranges outside the quartiles (Tukey, Exploratory Data Analysis, 1977). Fewer
    than five steps have no usual one to stand out from.
    """
    low, middle, high = (percentile(wall, p) for p in (25, 50, 75))
    if len(wall) < 5 or low is None or middle is None or high is None:
        return np.zeros(len(wall), bool)
    reach = 1.5 * (high - low)
    return ((wall > high + reach) | (wall < low - reach)) & (np.abs(wall - middle) * 20 > middle)
