"""An operator's own time by group of states, against adding up nanosecond by nanosecond."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys.measure.self_time import GROUPS, _group_times
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES

# intervals as (gap before it, length, state)
INTERVALS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, len(STATES) - 1)), min_size=1, max_size=12
)


@given(INTERVALS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=12))
def test_time_in_each_group(intervals, spans) -> None:
    start, end, state, at, now = [], [], [], {}, 5
    for gap, length, code in intervals:
        start.append(now + gap)
        now += gap + length
        end.append(now)
        state.append(code)
        at |= dict.fromkeys(range(start[-1], now), STATES[code])
    begin = np.array([low for low, _ in spans], np.int64)
    until = np.array([low + length for low, length in spans], np.int64)
    found = _group_times(*(np.array(column, np.int64) for column in (start, end, state)), begin, until)
    for (low, length), times in zip(spans, zip(*found, strict=True), strict=True):
        names = [at[moment] for moment in range(low, low + length) if moment in at]
        truth = {
            "framework": sum(name in FRAMEWORK_STATES for name in names),
            "library": names.count("library"),
            "launch": names.count("launch"),
            "all": len(names),
        }
        assert dict(zip(GROUPS, times, strict=True)) == truth
