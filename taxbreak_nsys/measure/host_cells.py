"""The host's time cut by state, NVTX range and launch, and the stretches of it that were exposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Intervals, Ints, among, begins, innermost, parents, union
from taxbreak_nsys.measure.device_time import device_sets
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.trace_columns import Ranges, runs, thread_slice

_MOST_CROSSED = 64
"""If more than this number of open ranges end before a range does, no range counts as its container."""


@dataclass(frozen=True)
class RangeNesting:
    """How the NVTX ranges of a report nest; columns over the ranges.

    `parent` is the innermost range of the thread that was open when a range began, `container` the innermost range that
    encloses it from start to end (an index, -1 for none). For push/pop ranges they are the same.
    """

    parent: Ints
    container: Ints

    @classmethod
    def of(cls, ranges: Ranges) -> RangeNesting:
        """Return the nesting of all ranges; they are sorted by (thread, start)."""
        parent = np.full(len(ranges), -1, np.int64)
        for low, high in runs(ranges.thread):
            around = parents(ranges.start[low:high], ranges.end[low:high])
            parent[low:high] = np.where(around >= 0, around + low, -1)
        container = parent.copy()
        crossing = np.flatnonzero(container >= 0)
        for _ in range(_MOST_CROSSED):
            # a parent that ends before the range does not enclose it: try the parent's parent
            crossing = crossing[ranges.end[container[crossing]] < ranges.end[crossing]]
            if not len(crossing):
                break
            container[crossing] = parent[container[crossing]]
            crossing = crossing[container[crossing] >= 0]
        else:
            container[crossing[ranges.end[container[crossing]] < ranges.end[crossing]]] = -1
        return cls(parent, container)

    def innermost_at(self, ranges: Ranges, thread: int, moments: Ints) -> Ints:
        """Return the innermost range of a thread that is open at each moment, -1 for none."""
        part = thread_slice(ranges.thread, thread)
        parent = self.parent[part]
        inner = innermost(
            ranges.start[part], ranges.end[part], np.where(parent >= 0, parent - part.start, -1), moments
        )  # fmt: skip
        return np.where(inner >= 0, inner + part.start, -1)


@dataclass(frozen=True)
class HostCells:
    """Host intervals cut where ranges begin and end and where launches begin; sorted by (thread, start).

    `range` is the innermost NVTX range (an index into the trace's), `launch` the launch whose call it is for the
    states `launch` and `memop` (an index into the launches); -1 for none. The cells of an instance add up to its wall
    time.
    """

    start: Ints
    end: Ints
    thread: Ints
    instance: Ints
    state: Ints
    range: Ints
    launch: Ints

    @property
    def duration(self) -> Ints:
        """Duration of each cell, ns."""
        return self.end - self.start

    @classmethod
    def of(cls, columns: Measured, nesting: RangeNesting | None, call_states: tuple[int, ...]) -> HostCells:
        """Cut the intervals; `call_states` are the states that lie inside a launching call.

        Without `nesting` they are not cut at ranges, without `call_states` not at launches: `range` or `launch` is -1.
        """
        intervals, ranges, launches = columns.intervals, columns.trace.ranges, columns.launches
        parts: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []
        for low, high in runs(intervals.thread):
            thread = int(intervals.thread[low])
            thread_ranges, calls = thread_slice(ranges.thread, thread), thread_slice(launches.thread, thread)
            edges = (
                [ranges.start[thread_ranges], ranges.end[thread_ranges]]
                if nesting is not None
                else [np.empty(0, np.int64)]
            )
            edges += [launches.start[calls]] if call_states else []
            start, end, at = cut_intervals(intervals.start[low:high], intervals.end[low:high], np.concatenate(edges))
            nothing = np.full(len(start), -1, np.int64)
            inner = nesting.innermost_at(ranges, thread, start) if nesting is not None else nothing
            launch = nothing.copy()
            if call_states:
                inside = np.isin(intervals.state[low:high][at], call_states)
                before = np.searchsorted(launches.start[calls], start[inside], side="right") - 1
                launch[inside] = np.where(before >= 0, before + calls.start, -1)
            parts.append((start, end, at + low, inner, launch))
        if not parts:
            empty = np.empty(0, np.int64)
            return cls(
                start=empty, end=empty, thread=empty, instance=empty, state=empty, range=empty, launch=empty
            )  # fmt: skip
        start, end, at, inner, launch = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(
            start=start,
            end=end,
            thread=intervals.thread[at],
            instance=intervals.instance[at],
            state=intervals.state[at],
            range=inner,
            launch=launch,
        )


def cut_intervals(start: Ints, end: Ints, edges: Ints) -> tuple[Ints, Ints, Ints]:
    """Cut sorted disjoint intervals at `edges`; return (start, end, index of the interval) of each part."""
    edges = np.sort(edges, kind="stable")
    edges = edges[begins(edges[1:] != edges[:-1])] if len(edges) else edges
    at = np.searchsorted(start, edges, side="right") - 1
    inside = (at >= 0) & (edges > start[np.maximum(at, 0)]) & (edges < end[np.maximum(at, 0)])
    edges, at = edges[inside], at[inside]
    # merge without sorting: edge k comes after k earlier edges and the `at + 1` intervals that start before it
    count = len(start) + len(edges)
    place = at + 1 + np.arange(len(edges))
    is_edge = np.zeros(count, bool)
    is_edge[place] = True
    begin, owner = np.empty(count, np.int64), np.empty(count, np.int64)
    begin[is_edge], owner[is_edge] = edges, at
    begin[~is_edge], owner[~is_edge] = start, np.arange(len(start))
    stop = np.empty(count, np.int64)
    stop[:-1] = begin[1:]
    last = np.ones(count, bool)
    last[:-1] = owner[1:] != owner[:-1]
    stop[last] = end[owner[last]]
    return begin, stop, owner


@dataclass(frozen=True)
class ExposedParts:
    """The exposed stretches of host cells, sorted by (thread, start); columns of one length.

    `cell` is an index into the cells; `gap_end` is when the device becomes busy again (FOREVER: never in this piece);
    `devices` is an index into `sets`, the device sets that instances use.
    """

    start: Ints
    end: Ints
    cell: Ints
    gap_end: Ints
    devices: Ints
    sets: tuple[frozenset[int], ...]

    @property
    def duration(self) -> Ints:
        """Duration of each stretch, ns."""
        return self.end - self.start

    @classmethod
    def of(cls, columns: Measured, cells: HostCells) -> ExposedParts:
        """Return the stretches in which no device that the instance's launches use is busy (method section 5)."""
        ops = columns.trace.ops
        of_instance = device_sets(ops, columns.launches, len(columns.instances), columns.launch_instance)
        sets = tuple(sorted(set(of_instance), key=sorted))
        parts: list[tuple[Ints, ...]] = []
        for code, devices in enumerate(sets):
            of_set = np.array([used == devices for used in of_instance], bool)
            chosen = among(of_set[cells.instance])
            on = np.isin(ops.device_global, sorted(devices))
            idle = complement(union(ops.start[on] + columns.communication.wait[on], ops.end[on]))
            start, end, cell, gap = intersect(cells.start[chosen], cells.end[chosen], idle)
            if not isinstance(chosen, slice):
                cell = chosen[cell]
            parts.append((start, end, cell, idle[1][gap], np.full(len(start), code, np.int64)))
        if not parts:
            empty = np.empty(0, np.int64)
            return cls(start=empty, end=empty, cell=empty, gap_end=empty, devices=empty, sets=())
        start, end, cell, gap_end, code_of = (np.concatenate(column) for column in zip(*parts, strict=True))
        stretches = cls(start=start, end=end, cell=cell, gap_end=gap_end, devices=code_of, sets=sets)
        return stretches if len(parts) == 1 else stretches._sorted()

    def _sorted(self) -> ExposedParts:
        order = np.lexsort((self.start, self.cell))
        columns = {name: getattr(self, name)[order] for name in ("start", "end", "cell", "gap_end", "devices")}
        return ExposedParts(**columns, sets=self.sets)


def complement(intervals: Intervals) -> Intervals:
    """Return the gaps between intervals made by `union`, from NEVER to FOREVER."""
    start, end = intervals
    return np.r_[NEVER, end], np.r_[start, FOREVER]


def intersect(start: Ints, end: Ints, others: Intervals) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the intersections with `others` (sorted, disjoint): (start, end, index, index in `others`)."""
    first = np.searchsorted(others[1], start, side="right")
    count = np.maximum(np.searchsorted(others[0], end, side="left") - first, 0)
    index = np.repeat(np.arange(len(start)), count)
    offset = np.cumsum(count) - count
    other = np.arange(len(index)) - offset[index] + first[index]
    return np.maximum(start[index], others[0][other]), np.minimum(end[index], others[1][other]), index, other
