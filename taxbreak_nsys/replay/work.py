"""The device work of one thread's replay: items on lanes, and the operations of each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import NEVER as NO_EARLIER
from taxbreak_nsys.arrays.intervals import Coverage, Flags, Ints, union
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, runs, thread_slice

NEVER = -(2**60)
"""A time before all device work, for "no earlier work"."""


@dataclass(frozen=True)
class Work:
    """Items, the work of one launch on one stream; columns sorted by (lane, launch start). A lane is a stream.

    Times are ns since the start of the model's window. `called` and `returned` bound the launching call;
    `busy` is the time that its kernels and graphs worked (their union, which has gaps in a CUDA graph) or, for an item
    without kernels (`computes` is False), its copies and sets. Waiting for a slower rank is no work: it ends at `met`
    (NEVER: no such wait), when the slower rank arrives, and `busy_after` is the work after `met`. `previous_end` is the
    end of the previous item on its lane (NEVER: none). `own` flags the launches of this thread, as other threads may
    launch to the same stream.
    """

    launch: Ints
    lane: Ints
    called: Ints
    returned: Ints
    start: Ints
    end: Ints
    busy: Ints
    busy_after: Ints
    met: Ints
    computes: Flags
    first: Flags
    previous_end: Ints
    own: Flags

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class WorkOps:
    """The device operations of the items: `op` is an index into the report's operations, `item` into the items.

    An operation starts `busy_before` (part of `Work.busy`, which scenarios scale) plus `fixed_before` after the start
    of its item, and ends `busy_until` plus `fixed_until` after it.
    """

    op: Ints
    item: Ints
    busy_before: Ints
    fixed_before: Ints
    busy_until: Ints
    fixed_until: Ints


@dataclass(frozen=True)
class OpIndex:
    """Device operations by launch: launch i has `op[first[i]:first[i + 1]]`, in the order of start."""

    op: Ints
    first: Ints

    @classmethod
    def of(cls, columns: ReplayColumns) -> OpIndex:
        """Return a report's operations sorted by launch; built once for all models."""
        of_op, start = columns.launches.of_op, columns.ops.start
        joined = np.flatnonzero(of_op >= 0)
        op = joined[np.lexsort((start[joined], of_op[joined]))]
        counts = np.bincount(of_op[joined], minlength=len(columns.launches))
        return cls(op, np.r_[np.int64(0), np.cumsum(counts)])

    def of_launches(self, low: int, high: int) -> Ints:
        """Return the operations of the launches with indices in [low, high)."""
        return self.op[self.first[low] : self.first[high]]


def collect(columns: ReplayColumns, index: OpIndex, thread: int, low: int, high: int) -> tuple[Work, WorkOps]:
    """Return the work on the streams that a thread launches to in [low, high), ns; `low` becomes time 0.

    Launches of other threads to these streams in that time are included. Work launched before `low` only bounds the
    first item of its lane.
    """
    ops, launches = columns.ops, columns.launches
    own = index.of_launches(*launches_within(columns, thread, low, high))
    streams = np.flatnonzero(np.bincount(ops.stream[own], minlength=1))
    parts = [own]
    for other in (int(launches.thread[first]) for first, _ in runs(launches.thread)):
        if other != thread and (other ^ thread) & PROCESS_MASK == 0:
            theirs = index.of_launches(*launches_within(columns, other, low, high))
            parts.append(theirs[np.isin(ops.stream[theirs], streams)])
    rows = np.concatenate(parts)
    op_launch = launches.of_op[rows]
    called, lane = launches.start[op_launch] - low, np.searchsorted(streams, ops.stream[rows])

    order = np.lexsort((ops.start[rows], op_launch, called, lane))
    rows, op_launch, lane = rows[order], op_launch[order], lane[order]
    at = _first_of_runs(lane, op_launch)
    if not len(at):
        empty, none = np.empty(0, np.int64), np.empty(0, bool)
        times = dict.fromkeys(
            ("called", "returned", "start", "end", "busy", "busy_after", "met", "previous_end"), empty
        )
        work = Work(launch=empty, lane=empty, computes=none, first=none, own=none, **times)
        return work, WorkOps(
            op=empty, item=empty, busy_before=empty, fixed_before=empty, busy_until=empty, fixed_until=empty
        )
    item = np.zeros(len(rows), np.int64)
    item[at[1:]] = 1
    item = np.cumsum(item)
    op_start, op_end = ops.start[rows] - low, ops.end[rows] - low
    start, end = np.minimum.reduceat(op_start, at), np.maximum.reduceat(op_end, at)
    since_start, since_end = op_start - start[item], op_end - start[item]
    computes = np.logical_or.reduceat(ops.computes[rows], at)
    counted = ops.computes[rows] | ~computes[item]
    wait = columns.comm_wait[rows]
    before, after = _busy_within(item, since_start, wait, since_end, counted, len(at))
    busy = np.maximum.reduceat(after, at)
    # an operation does no work before the slower rank arrives
    met = np.where(wait > 0, op_start + wait, NEVER)
    last = np.maximum.reduceat(met, at)
    done = np.maximum.reduceat(np.where((wait > 0) & (met == last[item]), before, 0), at)
    launch, lane = op_launch[at], lane[at]
    first = np.r_[True, lane[1:] != lane[:-1]]
    queued = launches.queued_until[launch]
    work = Work(
        launch=launch,
        lane=lane,
        called=launches.start[launch] - low,
        returned=launches.end[launch] - low,
        start=start,
        end=end,
        busy=busy,
        busy_after=busy - done,
        met=last,
        computes=computes,
        first=first,
        previous_end=np.where(
            first, np.where(queued > NO_EARLIER, queued - low, NEVER), np.r_[np.int64(NEVER), end[:-1]]
        ),
        own=launches.thread[launch] == thread,
    )
    return work, WorkOps(
        op=rows,
        item=item,
        busy_before=before,
        fixed_before=since_start - before,
        busy_until=after,
        fixed_until=since_end - after,
    )


def launches_within(columns: ReplayColumns, thread: int, low: int, high: int) -> tuple[int, int]:
    """Return (first, past) of the launches that a thread starts in [low, high)."""
    part = thread_slice(columns.launches.thread, thread)
    bounds = np.searchsorted(columns.launches.start[part], [low, high]) + part.start
    return int(bounds[0]), int(bounds[1])


def _first_of_runs(*keys: Ints) -> Ints:
    """Return the index of the first of each run of equal neighbours."""
    if not len(keys[0]):
        return np.empty(0, np.int64)
    new = np.zeros(len(keys[0]), bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def _busy_within(item: Ints, start: Ints, wait: Ints, end: Ints, counted: Flags, items: int) -> tuple[Ints, Ints]:
    """Return the time that counted operations of an item had worked when each operation started, and when it ended, ns.

    `start` and `end` are relative to the item's start; an operation works from `wait` after its start.
    """
    if len(item) == items:
        return np.zeros(items, np.int64), np.where(counted, end - start - wait, 0)
    # shift each item into its own time range, so that one union serves all items
    length = np.zeros(items, np.int64)
    np.maximum.at(length, item, end)
    shift = (np.cumsum(length + 1) - length - 1)[item]
    running = Coverage.of(union((start + wait + shift)[counted], (end + shift)[counted]))
    return running.within(shift, shift + start), running.within(shift, shift + end)
