"""Sequences with planted periods, noise and drift: what is found is the planted, or nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from taxbreak_nsys.phases.repetition import find_periods
from taxbreak_nsys.phases.step_division import Launched

HEAD, ATTENTION, TAIL, SYNC_INSIDE = 1, 2, 3, 4


def launched(tokens: list[int], ends: list[bool]) -> Launched:
    token = np.array(tokens, np.int64)
    wait, none = np.array(ends, bool), np.zeros(len(tokens), bool)
    return Launched(token, token, wait, none, (token == ATTENTION).astype(np.int64), none, none, none)


@st.composite
def planted(draw: st.DrawFn) -> tuple[Launched, list[int], int]:
    """A model's steps, each: a head, layers with an attention launch, some filler that differs a little from step
    to step, waits inside the layers or not, a tail, a wait. Returns also the true ends, and the layers.
    """
    layers = draw(st.integers(2, 12))
    filler = draw(st.lists(st.integers(10, 25), min_size=3, max_size=9))
    steps = draw(st.integers(3, 20))
    inner_wait = draw(st.booleans())
    noise = draw(st.floats(0, 0.1))
    growth = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    tokens: list[int] = []
    ends: list[bool] = []
    true_ends: list[int] = []
    for step in range(steps):
        body = [HEAD]
        for _ in range(layers):
            body += [token for token in filler if random.random() >= noise] + [ATTENTION]
            if inner_wait:
                body.append(SYNC_INSIDE)
            if random.random() < noise:
                body.append(int(random.integers(30, 40)))
        if growth and step > steps // 2:
            # as when attention is split once the cache is long enough
            body.append(41)
        body.append(TAIL)
        tokens += body
        ends += [token in (TAIL, SYNC_INSIDE) for token in body]
        true_ends.append(len(tokens) - 1)
    return launched(tokens, ends), true_ends, layers


@settings(max_examples=150, deadline=None)
@given(planted())
def test_planted_steps_are_found(case: tuple[Launched, list[int], int]) -> None:
    sequence, true_ends, _ = case
    found = find_periods(sequence)
    assert found is not None
    assert found.last.tolist() == true_ends
    assert found.first.tolist() == [0, *(end + 1 for end in true_ends[:-1])]
    assert found.waited
    assert found.coverage == 1.0


@settings(max_examples=100, deadline=None)
@given(planted(), st.data())
def test_cut_ends_are_left_out(case: tuple[Launched, list[int], int], data: st.DataObject) -> None:
    sequence, true_ends, _ = case
    # cut within the first step, behind its first attention launch, and within the last, before its last one
    attention = np.flatnonzero(sequence.token == ATTENTION)
    low = data.draw(st.integers(int(attention[0]) + 1, true_ends[0]))
    high = data.draw(st.integers(true_ends[-2] + 1, int(attention[-1]) - 1))
    part = slice(low, high + 1)
    cut = launched(sequence.token[part].tolist(), sequence.ends[part].tolist())
    whole = [end - low for end in true_ends[1:-1]]
    found = find_periods(cut)
    if len(whole) >= 2:
        assert found is not None
        assert found.last.tolist() == whole
        assert found.first[0] == true_ends[0] + 1 - low
    elif found is not None:
        assert set(found.last.tolist()) <= set(whole)


def test_ends_that_are_cut_alike_are_no_steps() -> None:
    step = [HEAD, *[10, 11, ATTENTION] * 6, TAIL]
    whole = step * 4
    # two steps between ends with two attention launches each
    cut = whole[len(step) - 7 : 3 * len(step) + 7]
    found = find_periods(launched(cut, [token == TAIL for token in cut]))
    assert found is not None
    assert found.first.tolist() == [7, 7 + len(step)]
    assert found.last.tolist() == [6 + len(step), 6 + 2 * len(step)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=400))
def test_noise_is_never_more_than_it_is(launches: list[tuple[int, bool]]) -> None:
    sequence = launched([token for token, _ in launches], [end for _, end in launches])
    found = find_periods(sequence)
    if found is None:
        return
    # whatever is found is disjoint, in order, of one depth, and comes back
    assert np.all(found.first <= found.last)
    assert np.all(found.first[1:] > found.last[:-1])
    assert np.bincount(found.kind).max() >= 2
    assert 0 <= found.confidence <= 1
    held = np.r_[0, np.cumsum(sequence.attention)]
    if sequence.attention.any():
        assert len(set((held[found.last + 1] - held[found.first]).tolist())) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(50, 400))
def test_launches_in_random_order_repeat_nothing(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(10, 10 + count // 4, count).tolist()
    ends = (random.random(count) < 0.05).tolist()
    found = find_periods(launched(tokens, ends))
    assert found is None


@given(st.integers(2, 7), st.integers(2, 50))
def test_a_short_chain_with_waits_is_no_step(size: int, times: int) -> None:
    tokens = list(range(10, 10 + size)) * times
    ends = ([False] * (size - 1) + [True]) * times
    assert find_periods(launched(tokens, ends)) is None


def test_a_growing_or_shrinking_chain_is_no_step() -> None:
    tokens: list[int] = []
    ends: list[bool] = []
    for size in range(10, 200, 30):
        tokens += list(range(size, 2 * size))
        ends += [False] * (size - 1) + [True]
    assert find_periods(launched(tokens, ends)) is None
