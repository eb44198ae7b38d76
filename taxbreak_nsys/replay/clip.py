"""The columns of one stretch of a thread: what its replay needs, and no more."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.phases import Instances


def clip_measured(columns: Measured, instances: Instances, index: Ints, thread: int, low: int, high: int) -> Measured:
    """Return the calls, launches and operations that a thread's process begins in [low, high), ns, and the thread's
    host intervals there.

    `instances` are those of the whole report, `index` the numbers in it of the instances of `columns`.
    """
    trace, launches, intervals = columns.trace, columns.launches, columns.intervals
    calls = _begun(trace.api.thread, trace.api.start, thread, low, high)
    launched = _begun(launches.thread, launches.start, thread, low, high)
    held = (launches.of_op >= 0) & launched[launches.of_op] if len(launches) else np.zeros(len(trace.ops), bool)
    lies = (intervals.thread == thread) & (intervals.end > low) & (intervals.start < high)

    kept = _kept(intervals, lies)
    ops = replace(_kept(trace.ops, held), api=_number(calls)[trace.ops.api[held]])
    part = _kept(launches, launched, leave=("of_op",))
    of_op = _number(launched)[launches.of_op[held]]
    return replace(
        columns,
        trace=replace(trace, api=_kept(trace.api, calls), ops=ops),
        launches=replace(part, api=_number(calls)[launches.api[launched]], of_op=of_op),
        instances=instances,
        intervals=replace(kept, instance=index[kept.instance] if len(kept.instance) else kept.instance),
        sampled=None,
    )


def _begun(threads: Ints, start: Ints, thread: int, low: int, high: int) -> Flags:
    same_process = (threads & PROCESS_MASK) == (thread & PROCESS_MASK)
    return np.asarray(same_process & (start >= low) & (start < high))


def _number(which: Flags) -> Ints:
    return np.cumsum(which) - 1


def _kept(of: Any, which: Flags, leave: tuple[str, ...] = ()) -> Any:
    """Return a dataclass of columns with some of its rows."""
    columns = {f.name: getattr(of, f.name) for f in fields(of) if f.name not in leave}
    return replace(of, **{name: c[which] for name, c in columns.items() if isinstance(c, np.ndarray)})
