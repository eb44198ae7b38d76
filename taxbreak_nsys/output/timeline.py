"""Single intervals for timelines: the call or range around each host interval, and device operations in lanes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints, innermost, nesting, parents, percentile
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.measure.library_launches import launch_kernel_names
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.trace_columns import runs, thread_slice

_IN_API = tuple(STATE[name] for name in ("device_wait", "launch", "memop", "module_load", "runtime"))


@dataclass(frozen=True)
class Details:
    """The call, range, kernel and launch of each host interval; each column has one value per host interval.

    `name` and `kernel` are codes into `names` (-1: none): the API call, library range or operator around the
    interval, and the first kernel of its launch. `launch` is the index of that launch (-1: none).
    """

    name: Ints
    kernel: Ints
    launch: Ints
    names: tuple[str, ...]


def timeline_details(columns: Measured) -> Details:
    """Return the details of all host intervals of a piece."""
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
        rows = np.arange(low, high)
        calls = trace.api.thread_slice(thread)
        inside = rows[in_api[low:high]]
        call = _containing_interval(trace.api.start[calls], trace.api.end[calls], intervals.start[inside])
        inside, call = inside[call >= 0], call[call >= 0] + calls.start
        name[inside] = trace.api.name[call] + api_base
        launch[inside] = launch_of_call[call]
        part = thread_slice(trace.ranges.thread, thread)
        for state, chosen in ((STATE["library"], library[part]), (STATE["dispatch"], trace.ranges.is_operator[part])):
            ranges = np.flatnonzero(chosen) + part.start
            in_state = rows[intervals.state[low:high] == state]
            if not len(ranges) or not len(in_state):
                continue
            start, end = trace.ranges.start[ranges], trace.ranges.end[ranges]
            around = innermost(start, end, parents(start, end), intervals.start[in_state])
            name[in_state[around >= 0]] = trace.ranges.name[ranges[around[around >= 0]]] + range_base
    kernel_of_launch = launch_kernel_names(trace, launches)
    kernel = np.where(launch >= 0, kernel_of_launch[np.maximum(launch, 0)], -1) if len(launches) else launch
    return Details(name, kernel, launch, (*trace.ops.names, *trace.api.names, *trace.ranges.names))


def _containing_interval(start: Ints, end: Ints, moment: Ints) -> Ints:
    """Return the index of the interval around each moment, -1 if there is none; the intervals do not overlap."""
    if not len(start):
        return np.full(len(moment), -1, np.int64)
    index = np.searchsorted(start, moment, side="right") - 1
    return np.where((index >= 0) & (end[np.maximum(index, 0)] > moment), index, -1)


def lanes(group: Ints, start: Ints, end: Ints) -> Ints:
    """Return a lane for each interval so that intervals in the same group and lane do not overlap.

    In order of their start, intervals take the lowest free lane; without overlaps, all are in lane 0.
    """
    return LaneAllocator().lanes(group, start, end)


class LaneAllocator:
    """Assigns lanes as the function `lanes` does, over several calls; each call's intervals start after the last's."""

    def __init__(self) -> None:
        self._busy: dict[int, list[tuple[int, int]]] = {}
        self._free: dict[int, list[int]] = {}

    def lanes(self, group: Ints, start: Ints, end: Ints, *, longest_first: bool = False) -> Ints:
        """Return the lanes of further intervals; of equal starts, the shortest comes first (or the longest)."""
        result = np.zeros(len(start), np.int64)
        order = np.lexsort((-end if longest_first else end, start, group))
        for low, high in runs(group[order]):
            members = order[low:high]
            key = int(group[members[0]])
            busy, free = self._busy.setdefault(key, []), self._free.setdefault(key, [])
            reach = np.maximum.accumulate(end[members])
            occupied = max((until for until, _ in busy), default=NEVER) > start[members[0]]
            if not occupied and not np.any(start[members][1:] < reach[:-1]):
                free[:] = range(1, max(len(busy) + len(free), 1))
                busy[:] = [(int(reach[-1]), 0)]
                continue
            result[members] = _lanes_in_order(busy, free, start[members], end[members])
        return result


def _lanes_in_order(busy: list[tuple[int, int]], free: list[int], start: Ints, end: Ints) -> Ints:
    """Return the lanes of intervals in their order; `busy` and `free` are heaps of (end, lane) and of free lanes."""
    _free_until(busy, free, int(start[0]))
    nested = _nested_lanes(busy, free, start, end)
    if nested is not None:
        return nested
    result = np.empty(len(start), np.int64)
    for index, (begin, stop) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        _free_until(busy, free, begin)
        lane = heapq.heappop(free) if free else len(busy)
        result[index] = lane
        heapq.heappush(busy, (stop, lane))
    return result


def _free_until(busy: list[tuple[int, int]], free: list[int], moment: int) -> None:
    while busy and busy[0][0] <= moment:
        heapq.heappush(free, heapq.heappop(busy)[1])


def _nested_lanes(busy: list[tuple[int, int]], free: list[int], start: Ints, end: Ints) -> Ints | None:
    """Return the lanes of intervals that nest in each other and in the busy lanes; None (heaps unchanged) for others.

    All open intervals are then around the one that starts, and its lane is their number: the nesting depth.
    """
    around = sorted(busy, key=lambda held: held[1])
    if [lane for _, lane in around] != list(range(len(around))) or around != sorted(around, reverse=True):
        return None
    ends = np.concatenate([np.array([until for until, _ in around], np.int64), end])
    found = nesting(np.concatenate([np.full(len(around), NEVER), start]), ends)
    if found is None:
        return None
    depth = found[0]
    open_at_last = np.flatnonzero(ends > start[-1])
    count = max(len(busy) + len(free), int(depth.max()) + 1)
    busy[:] = sorted(zip(ends[open_at_last].tolist(), depth[open_at_last].tolist(), strict=True))
    free[:] = range(len(busy), count)
    return depth[len(around) :]


@dataclass(frozen=True)
class TimelineRows:
    """Device operations in rows of a timeline: one row per stream, or several if its operations overlap.

    `row` has the row of each operation; the other columns describe the rows. `number` is the stream's number, counted
    from 1 per (process, device).
    """

    row: Ints
    stream: Ints
    lane: Ints
    process: Ints
    device: Ints
    number: Ints

    def title(self, row: int) -> str:
        """Return the title of a row."""
        return row_title(int(self.device[row]), int(self.number[row]), int(self.lane[row]))


def row_title(device: int, number: int, lane: int) -> str:
    """Return the title of a row of device operations; lanes above 0 hold overlapping operations."""
    return f"GPU {device}, stream {number}" + (f" (overlap {lane})" if lane else "")


class StreamNumbers:
    """Numbers the streams of each (process, device) from 1, in the order in which the report's pieces mention them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], dict[int, int]] = {}

    def number(self, process: int, device: int, stream: int) -> int:
        """Return the number of a stream, a new one for a new stream code."""
        known = self._numbers.setdefault((process, device), {})
        return known.setdefault(stream, len(known) + 1)


def device_rows(columns: Measured, streams: StreamNumbers) -> TimelineRows:
    """Return the rows of a piece's device operations; `streams` keeps the stream numbers from piece to piece."""
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
    """Flag the steps with outlying wall times (ns): beyond Tukey's fences and more than 5 % from the median.

    Fences are 1.5 interquartile ranges outside the quartiles (Tukey, Exploratory Data Analysis, 1977). With fewer
    than five steps none is flagged.
    """
    low, middle, high = (percentile(wall, p) for p in (25, 50, 75))
    if len(wall) < 5 or low is None or middle is None or high is None:
        return np.zeros(len(wall), bool)
    reach = 1.5 * (high - low)
    return ((wall > high + reach) | (wall < low - reach)) & (np.abs(wall - middle) * 20 > middle)
