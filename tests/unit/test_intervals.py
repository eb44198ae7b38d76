"""Interval arithmetic against counting nanosecond by nanosecond."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys.arrays.intervals import (
    Coverage,
    count_at_or_before,
    covered_by_group,
    innermost,
    parents,
    partition,
    percentile,
    union,
)

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


def arrays(spans: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in spans], np.int64), np.array([e for _, e in spans], np.int64)


def points(spans: list[tuple[int, int]]) -> set[int]:
    return {t for s, e in spans for t in range(s, e)}


@given(SPANS)
def test_union_covers_the_same_nanoseconds(spans) -> None:
    start, end = union(*arrays(spans))
    assert points(list(zip(start.tolist(), end.tolist(), strict=True))) == points(spans)
    assert np.all(start[1:] > end[:-1])


@given(SPANS, st.integers(0, 60), st.integers(0, 20))
def test_measure_counts_what_is_covered(spans, start, length) -> None:
    covered = Coverage.of(union(*arrays(spans))).within(np.array([start]), np.array([start + length]))
    assert covered[0] == len(points(spans) & set(range(start, start + length)))


@given(SPANS, st.lists(SPANS, max_size=4))
def test_partition_gives_each_nanosecond_to_the_first_layer(pieces, layers) -> None:
    piece = union(*arrays(pieces))
    start, end, owner, layer = partition(piece, [union(*arrays(spans)) for spans in layers])
    found = {t: (o, k) for s, e, o, k in zip(start, end, owner, layer, strict=True) for t in range(s, e)}
    sets = [points(spans) for spans in layers]
    for number, (low, high) in enumerate(zip(*piece, strict=True)):
        for t in range(low, high):
            first = next((k for k, held in enumerate(sets) if t in held), len(layers))
            assert found.pop(t) == (number, first)
    assert not found


@given(SPANS)
def test_innermost_is_the_latest_that_holds_the_moment(spans) -> None:
    spans = sorted(spans, key=lambda p: (p[0], -p[1]))
    start, end = arrays(spans)
    moments = np.arange(60)
    found = innermost(start, end, parents(start, end), moments)
    for moment, index in zip(moments, found, strict=True):
        holding = [i for i, (s, e) in enumerate(spans) if s <= moment < e]
        assert index == (max(holding) if holding else -1)


@given(st.lists(st.booleans(), max_size=60), st.data())
def test_parents_of_ranges_that_were_pushed_and_popped(pushes, data) -> None:
    now, stack, spans, truth = 0, [], [], []
    for push in pushes:
        # a range may begin with the one around it, or where the last one ended; it takes time
        now += data.draw(st.integers(0, 2))
        if push:
            truth.append(stack[-1] if stack else -1)
            stack.append(len(spans))
            spans.append([now, now])
        elif stack:
            one = stack.pop()
            now = max(now, spans[one][0] + 1)
            spans[one][1] = now
    for one in reversed(stack):
        now += 1
        spans[one][1] = now
    start, end = arrays(spans)
    assert parents(start, end).tolist() == truth


@given(st.lists(st.integers(-30, 30), max_size=12), st.lists(st.integers(-40, 40), max_size=60), st.booleans())
def test_ranks_count_the_edges_up_to_a_moment(edges, moments, in_order) -> None:
    edges, moments = sorted(edges), sorted(moments) if in_order else moments
    found = count_at_or_before(np.array(edges, np.int64), np.array(moments, np.int64))
    assert found.tolist() == [sum(edge <= moment for edge in edges) for moment in moments]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20), st.integers(0, 9)), min_size=1, max_size=15))
def test_cover_by_group(rows) -> None:
    group, start, length = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    covered = covered_by_group(group, start, start + length, 4)
    for g in range(4):
        assert covered[g] == len({t for k, s, n in rows if k == g for t in range(s, s + n)})


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=50), st.integers(0, 100))
def test_percentile_is_the_one_at_the_floor_index(values, p) -> None:
    assert percentile(np.array(values), p) == sorted(values)[(len(values) - 1) * p // 100]
