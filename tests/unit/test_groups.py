"""Sums and order statistics by group: against plain Python, however the values are split up."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys.arrays.grouped import ExcessOverFloor, GroupSums, ValueCounts, ValueStats, group_sums

LARGE = 2**45
VALUES = st.one_of(st.integers(0, 50), st.integers(0, LARGE))
PARTS = st.lists(
    st.lists(st.tuples(st.one_of(st.integers(0, 5), st.integers(0, 2**24)), VALUES), max_size=30), max_size=6
)


def by_group(parts: list[list[tuple[int, int]]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for part in parts:
        for group, value in part:
            found[group].append(value)
    return {group: sorted(values) for group, values in found.items()}


def columns(part: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(part, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(PARTS)
def test_spread(parts: list[list[tuple[int, int]]]) -> None:
    spread = ValueCounts()
    for part in parts:
        spread.add(*columns(part))
    expected = {
        group: ValueStats(len(values), sum(values), values[(len(values) - 1) // 2], values[0], values[-1])
        for group, values in by_group(parts).items()
    }
    assert spread.stats() == expected
    assert spread.percentiles(1) == {g: values[(len(values) - 1) // 100] for g, values in by_group(parts).items()}


@given(PARTS)
def test_totals(parts: list[list[tuple[int, int]]]) -> None:
    totals = GroupSums("ns", "count")
    for part in parts:
        group, value = columns(part)
        totals.add(group, ns=value, count=1)
    assert totals.table() == {g: {"ns": sum(v), "count": len(v)} for g, v in by_group(parts).items()}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-(2**55), 2**55)), max_size=50))
def test_sum_by_is_exact(rows: list[tuple[int, int]]) -> None:
    group, value = columns(rows)
    expected = [sum(v for g, v in rows if g == one) for one in range(10)]
    assert group_sums(group, value, 10).tolist() == expected


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.integers(0, 100)), max_size=20), max_size=4),
    st.integers(0, 100),
)
def test_above_a_floor(parts: list[list[tuple[int, int, int]]], floor: int) -> None:
    above = ExcessOverFloor()
    expected: dict[int, int] = defaultdict(int)
    for part in parts:
        table = np.array(part, np.int64).reshape(-1, 3)
        above.add(table[:, 0], table[:, 1], table[:, 2])
        for group, value, cap in part:
            expected[group] += min(max(value - floor, 0), cap)
    assert above.total(floor) == expected
