"""Interpolation at fixed moments is np.interp to the last bit: forecasts are compared byte for byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys.arrays.interpolation import Interpolation

INTEGERS = st.integers(-(10**12), 10**12)


@given(
    st.lists(INTEGERS, min_size=1, max_size=20, unique=True),
    st.lists(INTEGERS, max_size=20),
    st.lists(st.floats(-1e15, 1e15), min_size=20, max_size=20),
)
def test_the_same_as_numpy(knots: list[int], moments: list[int], values: list[float]) -> None:
    at = np.array(sorted(knots), np.int64)
    where = np.array([*moments, *knots], np.int64)
    known = np.array(values[: len(at)])
    own = Interpolation(where, at).values(known.__getitem__)
    # an infinite slope, and with it NaN, needs values far beyond a report's times
    assert own.tolist() == np.interp(where, at, known).tolist()
