"""The counters of a trace: each device's activity and HDBI of a process, over a window before each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Ints, union
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.output.trace_spool import TraceSpool, busy_key
from taxbreak_nsys.result import Result

MOST_SAMPLES = 20_000
"""Most values of one counter; longer captures are sampled at larger intervals."""


@dataclass(frozen=True)
class Counter:
    """The values of a counter and their times (ns); `title` and `unit` are for people."""

    title: str
    unit: str
    time: Ints
    value: np.ndarray


def counters(result: Result, spool: TraceSpool, process: int, window: int) -> Iterator[Counter]:
    """Yield counters of each device's activity and of HDBI, over the window (ns) before each time.

    There is no value for a window that overlaps a step without measured device time, and no HDBI for a window
    without host and device time.
    """
    instances = result.instances
    threads = (instances.thread & PROCESS_MASK) == process
    if process not in spool.bounds or not threads.any():
        return
    low = min(spool.bounds[process][0], int(instances.start[threads].min()))
    high = max(spool.bounds[process][1], int(instances.end[threads].max()))
    distance = max(window // 4, (high - low) // MOST_SAMPLES, 1)
    time = np.arange(low + window, high + distance, distance, dtype=np.int64)
    unknown = threads & result.step_sums.unmeasured
    missing = Coverage.of(union(instances.start[unknown], instances.end[unknown]))
    time = time[missing.within(time - window, time) == 0]
    if not len(time):
        return
    span = f"over {window / 1e6:g} ms"
    in_phase = np.zeros(len(time), np.int64)
    for device in sorted(device for owner, device in spool.devices if owner == process):
        active = _covered(spool, busy_key(process, device), time, window)
        yield Counter(f"GPU {device} active {span}", "%", time, 100 * active / window)
        in_phase += _covered(spool, busy_key(process, device, in_phase=True), time, window)
    host = _orchestration(result, spool, process, time, window)
    known = in_phase + host > 0
    yield Counter(f"HDBI {span}", "", time[known], in_phase[known] / (in_phase + host)[known])


def _covered(spool: TraceSpool, key: str, time: Ints, window: int) -> Ints:
    """Return the time that the intervals of `key` cover in the window before each time, ns; they do not overlap."""
    total = np.zeros(len(time), np.int64)
    for part in spool.files.parts(key):
        total += Coverage.of((part["start"], part["end"])).within(time - window, time)
    return total


def _orchestration(result: Result, spool: TraceSpool, process: int, time: Ints, window: int) -> Ints:
    """Return T_Orchestration of a process in the window before each time, ns."""
    threads = result.instances.thread
    counted = np.isin(np.arange(len(STATES)), [STATES.index(state) for state in (*FRAMEWORK_STATES, "library")])
    total = np.zeros(len(time), np.int64)
    for thread in np.unique(threads[(threads & PROCESS_MASK) == process]).tolist():
        for part in spool.files.parts(f"states-{thread}"):
            chosen = counted[part["state"]]
            busy = union(part["start"][chosen], part["end"][chosen])
            total += Coverage.of(busy).within(time - window, time)
    for part in spool.files.parts(f"launches-{process}"):
        begun = np.sort(part["start"])
        total += result.t_sys_ns * (np.searchsorted(begun, time) - np.searchsorted(begun, time - window))
    return total
