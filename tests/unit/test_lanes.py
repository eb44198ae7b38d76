"""Lanes of intervals, also of intervals that come in several pieces: the lowest that is free, one after another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from taxbreak_nsys.output.timeline import LaneAllocator

Interval = tuple[int, int, int]
"""(group, start, end)"""


def lowest_free(intervals: list[Interval], *, longest_first: bool) -> list[int]:
    """Return the lane of each interval by trying one lane after another."""
    order = sorted(range(len(intervals)), key=lambda i: (intervals[i][1], intervals[i][2] * (1 - 2 * longest_first)))
    until: dict[tuple[int, int], int] = {}
    lanes = [0] * len(intervals)
    for index in order:
        group, start, end = intervals[index]
        lane = 0
        while until.get((group, lane), start) > start:
            lane += 1
        until[group, lane], lanes[index] = end, lane
    return lanes


@st.composite
def nested(draw: st.DrawFn) -> list[Interval]:
    """Push/pop ranges of two threads: some begin and some end at every moment."""
    found: list[Interval] = []
    for group in range(2):
        stack: list[int] = []
        moment = 0
        for step in draw(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40)):
            moment += step[1]
            if step[0] or not stack:
                stack.append(moment)
            else:
                found.append((group, stack.pop(), moment))
        found += [(group, start, moment + 1) for start in stack]
    return sorted(found, key=lambda one: (one[1], -one[2]))


ANY = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(0, 20)), max_size=40).map(
    lambda rows: sorted((group, start, start + length) for group, start, length in rows)
)


@settings(max_examples=400)
@given(st.one_of(nested(), ANY), st.booleans(), st.lists(st.integers(0, 60), max_size=3))
def test_the_lowest_free_lane(intervals: list[Interval], longest_first: bool, cuts: list[int]) -> None:
    allocator, pieces = LaneAllocator(), [-1, *sorted(cuts), 10**6]
    for low, high in pairwise(pieces):
        piece = [one for one in intervals if one[1] < high]
        earlier = [one for one in intervals if one[1] < low]
        fresh = [one for one in piece if one[1] >= low]
        group, start, end = (np.array([one[i] for one in fresh], np.int64) for i in range(3))
        lanes = allocator.lanes(group, start, end, longest_first=longest_first)
        known = lowest_free(earlier + fresh, longest_first=longest_first)
        assert lanes.tolist() == known[len(earlier) :]
