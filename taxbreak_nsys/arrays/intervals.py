"""Arithmetic over integer intervals [start, end), vectorised; all arrays are one-dimensional int64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Intervals = tuple[Ints, Ints]

NEVER = -(2**63)
FOREVER = 2**63 - 1
"""Times before and after every moment of a report, ns."""

EMPTY: Intervals = (np.empty(0, np.int64), np.empty(0, np.int64))


def percentile(values: Ints, p: int) -> int | None:
    """Return the p-th percentile: of n sorted integers, the integer at index floor((n-1)*p/100); None where n is 0.

    The median is p = 50; the result is always one of the values (method, introduction).
    """
    if not len(values):
        return None
    k = (len(values) - 1) * p // 100
    return int(np.partition(values, k)[k])


def union(start: Ints, end: Ints) -> Intervals:
    """Return the union of intervals as disjoint, sorted, non-touching intervals; empty ones are dropped."""
    keep = end > start
    if not keep.all():
        start, end = start[keep], end[keep]
    if not len(start):
        return EMPTY
    if np.any(start[1:] < start[:-1]):
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    reach = np.maximum.accumulate(end)
    first = begins(start[1:] > reach[:-1])
    if len(first) == len(start):
        return start, end
    return start[first], reach[np.append(first[1:] - 1, len(reach) - 1)]


def count_at_or_before(edges: Ints, moments: Ints) -> Ints:
    """Return for each moment the number of edges at or before it; the edges are sorted."""
    if 2 * len(edges) < len(moments) and not np.any(moments[1:] < moments[:-1]):
        # For few edges and many sorted moments, it is faster to look up the edges among the moments.
        place = np.searchsorted(moments, edges, side="left")
        return np.cumsum(np.bincount(place, minlength=len(moments) + 1)[:-1])
    return np.searchsorted(edges, moments, side="right")


def among(which: Flags) -> Ints | slice:
    """Return an index of the flagged rows: a slice, which copies nothing, where every row is flagged."""
    return slice(None) if which.all() else np.flatnonzero(which)


def distinct(values: Ints) -> list[int]:
    """Return the distinct integers, sorted; most columns of threads, processes and streams hold one value only."""
    if not len(values):
        return []
    low, high = int(values.min()), int(values.max())
    return [low] if low == high else np.unique(values).tolist()


def begins(differs: Flags) -> Ints:
    """Return the first index of each run of equal rows; `differs[i]` says that rows i and i + 1 differ."""
    first = np.empty(len(differs) + 1, bool)
    first[0] = True
    first[1:] = differs
    return np.flatnonzero(first)


def clip(start: Ints, end: Ints, low: int, high: int) -> Intervals:
    """Return the parts of intervals that lie in [low, high); intervals outside are dropped."""
    keep = (end > low) & (start < high)
    return np.maximum(start[keep], low), np.minimum(end[keep], high)


@dataclass(frozen=True)
class Coverage:
    """Disjoint sorted intervals with their cumulated length, to look up the covered time before any moment.

    `before` has the covered time before each interval, and the whole at its end.
    """

    start: Ints
    end: Ints
    before: Ints

    @cached_property
    def _ended(self) -> Ints:
        return np.r_[np.iinfo(np.int64).min // 2, self.end]

    @classmethod
    def of(cls, intervals: Intervals) -> Coverage:
        """Return the coverage of intervals that are disjoint and sorted, as `union` returns them."""
        start, end = intervals
        return cls(start, end, np.r_[np.int64(0), np.cumsum(end - start)])

    def until(self, moment: Ints) -> Ints:
        """Return for each moment (ns) the covered time before it, ns."""
        if not len(self.start):
            return np.zeros(len(moment), np.int64)
        # Sentinel: times before the first interval map to index 0, where nothing is covered.
        index = count_at_or_before(self.start, moment)
        rest = self._ended[index] - moment
        return self.before[index] - np.maximum(rest, 0, out=rest)

    def within(self, start: Ints, end: Ints) -> Ints:
        """Return for each interval the covered time inside it, ns."""
        if not len(self.start) or not len(start):
            return np.zeros(len(start), np.int64)
        before = self.until(start)
        # If the next interval begins where this one ends (a partition), its value is already known.
        after = np.empty_like(before)
        after[:-1] = before[1:]
        apart = np.flatnonzero(np.r_[start[1:] != end[:-1], True])
        after[apart] = self.until(end[apart])
        return after - before


def partition(pieces: Intervals, layers: list[Intervals]) -> tuple[Ints, Ints, Ints, Ints]:
    """Cut `pieces` wherever a layer begins or ends, and find the first layer that covers each part.

    `pieces` are disjoint and sorted; each layer is a result of `union`; at most 60 layers. Returns
    (start, end, piece index, layer index), sorted by time; the layer index is len(layers) for a part that no layer
    covers. Neighbouring parts of one piece with the same layer are merged. The parts of a piece add up to the piece.
    """
    if not len(pieces[0]):
        return (*EMPTY, *EMPTY)
    low, high = int(pieces[0][0]), int(pieces[1][-1])
    bounded = [clip(start, end, low, high) for start, end in layers]
    inside = 1 << len(layers)
    # Narrow integers: less memory to move.
    width = np.int16 if len(layers) < 15 else np.int64
    times, deltas = (
        [pieces[0], pieces[1]],
        [np.full(len(pieces[0]), inside, width), np.full(len(pieces[0]), -inside, width)],
    )
    for k, (start, end) in enumerate(bounded):
        times += [start, end]
        deltas += [np.full(len(start), 1 << k, width), np.full(len(start), -(1 << k), width)]
    time = np.concatenate(times)
    # Each column is already sorted; a stable sort merges such runs, four times as fast as one that ignores them.
    order = np.argsort(time, kind="stable")
    time = time[order]
    mask: NDArray[np.signedinteger[Any]] = np.cumsum(np.concatenate(deltas)[order], dtype=width)
    last = np.flatnonzero(np.r_[time[1:] != time[:-1], True])
    time, mask = time[last], mask[last]
    start, end, mask = time[:-1], time[1:], mask[:-1]
    covered = among((mask & inside) != 0)
    start, end, mask = start[covered], end[covered], mask[covered]
    # The lowest set bit is the first layer that covers the part; the piece's own bit, the highest, means no layer.
    layer = np.bitwise_count((mask & -mask) - 1).astype(np.int64)
    piece = count_at_or_before(pieces[0], start) - 1
    first = begins((layer[1:] != layer[:-1]) | (piece[1:] != piece[:-1]) | (start[1:] != end[:-1]))
    stop = np.append(first[1:] - 1, len(start) - 1)
    return start[first], end[stop], piece[first], layer[first]


_RADIX = 1 << 16
"""numpy sorts 16-bit integers by radix, faster than by comparing."""


def parents(start: Ints, end: Ints) -> Ints:
    """Return for each interval the index of the innermost interval around it, -1 for none.

    The intervals are sorted by (start, longest first). The innermost interval around another is the last one that
    starts at or before it and has not ended by its start. Where intervals nest (as push/pop ranges do) it is the
    container.
    """
    nested = nesting(start, end)
    return nested[1] if nested is not None else _parents_by_stack(start, end)


def nesting(start: Ints, end: Ints) -> tuple[Ints, Ints] | None:
    """Return (depth, parent) of intervals that nest: the number of intervals around each, and the innermost of them.

    The intervals are sorted as for `parents`, and so is the parent. None if intervals overlap without nesting, or if
    one is empty.
    """
    count = len(start)
    depth = np.arange(count) - np.searchsorted(np.sort(end), start, side="right")
    if np.any(depth < 0) or np.any(end <= start):
        return None
    # Depth grows by at most one from an interval to the next. Where it grows, the previous interval is the parent;
    # elsewhere the parent is the same as for the previous interval of equal depth.
    order = np.argsort(depth.astype(np.uint16) if depth.max(initial=0) < _RADIX else depth, kind="stable")
    inner = order[np.searchsorted(depth[order], 1) :]
    opens = depth[inner - 1] < depth[inner]
    parent = inner[opens] - 1
    parent = parent[np.cumsum(opens) - 1]
    if np.any(end[inner] > end[parent]):
        return None
    result = np.full(count, -1, np.int64)
    result[inner] = parent
    return depth, result


def _parents_by_stack(start: Ints, end: Ints) -> Ints:
    """Return the result of `parents` for intervals that overlap without nesting, by a stack."""
    result = np.full(len(start), -1, np.int64)
    stack: list[int] = []
    ends = end.tolist()
    for index, moment in enumerate(start.tolist()):
        # Intervals deeper in the stack may have ended too; they are dropped when they reach the top.
        while stack and ends[stack[-1]] <= moment:
            stack.pop()
        if stack:
            result[index] = stack[-1]
        stack.append(index)
    return result


def innermost(start: Ints, end: Ints, parent: Ints, moments: Ints) -> Ints:
    """Return for each moment the index of the innermost interval that contains it, -1 for none.

    The intervals are sorted by (start, longest first) and `parent` comes from `parents`; an interval contains
    its start but not its end.
    """
    if not len(start):
        return np.full(len(moments), -1, np.int64)
    at = np.searchsorted(start, moments, side="right") - 1
    for _ in range(_STEPS_OUTWARD):
        over = (at >= 0) & (end[np.maximum(at, 0)] <= moments)
        if not over.any():
            return at
        at[over] = parent[at[over]]
    _walk_outward(at, end, parent, moments)
    return at


_STEPS_OUTWARD = 64
"""Nesting depth up to which all moments step outward together, vectorised; deeper nests are walked one by one."""


def _walk_outward(at: Ints, end: Ints, parent: Ints, moments: Ints) -> None:
    """Finish `innermost` for deep nests, moment by moment in order of time; changes `at` in place.

    An interval that has ended by one moment has ended for all later moments: `past` skips it from then on.
    """
    past, ends = parent.tolist(), end.tolist()
    over = np.flatnonzero((at >= 0) & (end[np.maximum(at, 0)] <= moments))
    for index in over[np.argsort(moments[over], kind="stable")].tolist():
        moment, here, seen = int(moments[index]), int(at[index]), []
        while here >= 0 and ends[here] <= moment:
            seen.append(here)
            here = past[here]
        for interval in seen:
            past[interval] = here
        at[index] = here


def covered_by_group(group: Ints, start: Ints, end: Ints, groups: int) -> Ints:
    """Return for each group (0 … groups-1) the length of the union of its intervals, ns."""
    result = np.zeros(groups, np.int64)
    if not len(start):
        return result
    low = int(start.min())
    span = int(end.max()) - low + 1
    if span * groups < 2**62:
        # Shift each group to its own stretch of time, so that one union serves all groups.
        shifted_start, shifted_end = union(start - low + group * span, end - low + group * span)
        np.add.at(result, shifted_start // span, shifted_end - shifted_start)
        return result
    for number in np.unique(group).tolist():
        member = group == number
        merged = union(start[member], end[member])
        result[number] = (merged[1] - merged[0]).sum()
    return result
