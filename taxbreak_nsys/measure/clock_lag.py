"""How far the device's clock lags behind the host's, as synchronisations show it.

When a synchronisation returns, the work that it waited for is done. Where the report lets that work end later, the
device's timestamps are late by at least the difference.
"""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Trace


def lag_at_synchronisations(trace: Trace, launches: Launches) -> Ints:
    """Return for each synchronisation of a stream or device how long after it its work ended, ns; negative: before.

    Work is what launches of its process that had returned before it began put on the device. A synchronisation of one
    stream does not say which, so the stream that was done first counts. Those without work before them are left out.
    """
    api = trace.api
    whole = api.named(name_rules.waits_for_whole_device)
    syncs = np.flatnonzero(whole | api.named(name_rules.waits_for_one_stream))
    joined = np.flatnonzero(launches.of_op >= 0)
    if not len(syncs) or not len(joined):
        return np.empty(0, np.int64)
    op_process, sync_process = trace.ops.process[joined], api.thread[syncs] & PROCESS_MASK
    found = []
    for process in np.unique(sync_process).tolist():
        ops = joined[op_process == process]
        mine = syncs[sync_process == process]
        if len(ops):
            found.append(_lags(trace, launches, ops, mine, whole[mine]))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _lags(trace: Trace, launches: Launches, ops: Ints, syncs: Ints, whole: Flags) -> Ints:
    """Return the lag at each synchronisation of one process, whose device operations are `ops`."""
    start, end = trace.api.start[syncs], trace.api.end[syncs]
    last = np.full(len(syncs), NEVER, np.int64)
    first = np.full(len(syncs), np.iinfo(np.int64).max, np.int64)
    returned, stream, op_end = launches.end[launches.of_op[ops]], trace.ops.stream[ops], trace.ops.end[ops]
    for code in np.unique(stream).tolist():
        mine = np.flatnonzero(stream == code)
        order = mine[np.argsort(returned[mine], kind="stable")]
        reach = np.maximum.accumulate(op_end[order])
        before = np.searchsorted(returned[order], start, side="right") - 1
        done = np.where(before >= 0, reach[np.maximum(before, 0)], NEVER)
        last = np.maximum(last, done)
        first = np.where(before >= 0, np.minimum(first, done), first)
    known = last > NEVER
    return (np.where(whole, last, first) - end)[known]
