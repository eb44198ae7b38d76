"""The columns that a replay needs: collected piece by piece while a report is read, then joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.grouped import ValueStats
from taxbreak_nsys.arrays.intervals import Flags, Intervals, Ints
from taxbreak_nsys.measure.host_states import HostIntervals
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.event_waits import EventWaits
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import ApiCalls, DeviceOps, runs, thread_slice
from taxbreak_nsys.phases import Instances


@dataclass(frozen=True)
class ReplayColumns:
    """API calls, device operations, launches and host intervals of a report, or of stretches of it.

    `instances` are the instances of the whole report: `intervals.instance` is an index into them, `launches.of_op` an
    index into `launches`. `comm_wait` is for each operation the time at its start that waits for a slower rank, ns
    (method section 2.3). `recorded` is for each call the time when the event that it waits for was recorded, ns
    (FOREVER: not known or none); None as long as no one has asked.
    """

    api: ApiCalls
    ops: DeviceOps
    comm_wait: Ints
    launches: Launches
    intervals: HostIntervals
    instances: Instances
    recorded: Ints | None = None

    @classmethod
    def whole(cls, columns: Measured) -> ReplayColumns:
        """Return the columns of a report that was read as a whole."""
        trace = columns.trace
        return cls(
            api=trace.api,
            ops=trace.ops,
            comm_wait=columns.communication.wait,
            launches=columns.launches,
            intervals=columns.intervals,
            instances=columns.instances,
        )

    @cached_property
    def launch_instance(self) -> Ints:
        """The instance that holds the start of each launch, -1 for none."""
        return self.instances.at(self.launches.thread, self.launches.start)

    @cached_property
    def input_copies(self) -> Ints:
        """The launches that copy from the host's memory, sorted."""
        launched = self.launches.of_op[self.ops.from_host]
        return np.unique(launched[launched >= 0])

    @cached_property
    def interval_cell(self) -> NDArray[np.int32]:
        """The place of each host interval in the rows of a table (labels + 1, states); the last one is no interval."""
        cell = np.empty(len(self.intervals.start) + 1, np.int32)
        cell[:-1] = self.instances.label[self.intervals.instance] * len(STATES) + self.intervals.state
        cell[-1] = len(self.instances.labels) * len(STATES)
        return cell

    def within(self, spans: Intervals, own: Flags | bool = True, own_ops: Flags | bool = True) -> ReplayColumns:
        """Return the calls and launches that start in the spans, and the operations and intervals that overlap them.

        Launches and operations that are not flagged in `own` and `own_ops` are left out.
        """
        launched = _starts_within(spans, self.launches.start) & own
        of_op = self.launches.of_op
        launched_there = (of_op >= 0) & launched[of_op] if len(launched) else np.zeros(len(of_op), bool)
        runs_there = _overlaps(spans, self.ops.start, self.ops.end)
        return self.rows(
            calls=_starts_within(spans, self.api.start),
            launched=launched,
            ops=(launched_there | runs_there) & own_ops,
            intervals=_overlaps(spans, self.intervals.start, self.intervals.end),
        )

    def rows(self, *, calls: Flags, launched: Flags, ops: Flags, intervals: Flags) -> ReplayColumns:
        """Return the flagged rows; operations whose launch is not flagged lose it (`of_op` is -1)."""
        number = np.where(launched, np.cumsum(launched) - 1, -1)
        of_op = self.launches.of_op[ops]
        renumbered = np.where(of_op >= 0, number[of_op], -1) if len(number) else of_op
        launches = replace(_flagged(self.launches, launched, leave=("of_op",)), of_op=renumbered)
        return ReplayColumns(
            api=_flagged(self.api, calls),
            ops=_flagged(self.ops, ops),
            comm_wait=self.comm_wait[ops],
            launches=launches,
            intervals=_flagged(self.intervals, intervals),
            instances=self.instances,
        )


@dataclass(frozen=True)
class ReplayPart:
    """The part of a report to replay: its columns, and by thread the spans of time (ns; None: the whole report).

    `queued_gaps` and `node_gaps` are the gaps between kernels in one stream's queue and between the nodes of a CUDA
    graph, ns, over the whole report; None without such a gap. `event_waits` are the synchronisations in the part; None
    where the report has none.
    """

    columns: ReplayColumns
    windows: dict[int, tuple[tuple[int, int], ...]] | None
    queued_gaps: ValueStats | None
    node_gaps: ValueStats | None
    event_waits: EventWaits | None = None


def piece_columns(
    columns: Measured, instances: Instances, index: Ints, own: Flags, own_ops: Flags, spans: Intervals | None = None
) -> ReplayColumns:
    """Return the rows that one piece of a report contributes to the whole, or to some `spans` of it.

    `instances` are the instances of the whole report and `index` the numbers of the piece's instances among them. `own`
    flags the launches and `own_ops` the operations that no other piece counts.
    """
    part = ReplayColumns.whole(columns)
    if spans is not None:
        part = part.within(spans, own, own_ops)
    else:
        every_call, every_interval = np.ones(len(part.api), bool), np.ones(len(part.intervals.start), bool)
        part = part.rows(calls=every_call, launched=own, ops=own_ops, intervals=every_interval)
    local = part.intervals.instance
    intervals = replace(part.intervals, instance=index[local] if len(local) else local)
    return replace(part, intervals=intervals, instances=instances)


def join_columns(parts: Sequence[ReplayColumns]) -> ReplayColumns:
    """Return the pieces of one report, in the order of time, as one; a call that is in two pieces is kept once."""
    api = _joined([part.api for part in parts])
    order = np.lexsort((api.start, api.thread))
    api = _taken(api, order)
    again = np.zeros(len(api), bool)
    again[1:] = (api.thread[1:] == api.thread[:-1]) & (api.start[1:] == api.start[:-1])
    api = _flagged(api, ~again)

    offset = np.cumsum([0, *(len(part.launches) for part in parts[:-1])])
    of_op = np.concatenate(
        [np.where(p.launches.of_op >= 0, p.launches.of_op + at, -1) for p, at in zip(parts, offset, strict=True)]
    )
    launches = _joined([part.launches for part in parts], leave=("of_op",))
    order = np.lexsort((launches.start, launches.thread))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    launches = replace(
        _taken(launches, order, leave=("of_op",)),
        of_op=np.where(of_op >= 0, number[of_op], -1) if len(number) else of_op,
    )
    launches = replace(launches, api=_calls_of_launches(api, launches))

    intervals = _joined([part.intervals for part in parts])
    intervals = _taken(intervals, np.lexsort((intervals.start, intervals.thread)))
    return ReplayColumns(
        api=api,
        ops=_joined([part.ops for part in parts]),
        comm_wait=np.concatenate([part.comm_wait for part in parts]),
        launches=launches,
        intervals=intervals,
        instances=parts[0].instances,
    )


def _calls_of_launches(api: ApiCalls, launches: Launches) -> Ints:
    """Return the index of each launch's API call: the call of the same thread with the same start."""
    index = np.zeros(len(launches), np.int64)
    for low, high in runs(launches.thread):
        calls = thread_slice(api.thread, int(launches.thread[low]))
        index[low:high] = np.searchsorted(api.start[calls], launches.start[low:high]) + calls.start
    return index


def _starts_within(spans: Intervals, start: Ints) -> Flags:
    """Flag the moments that lie in one of the spans, which are disjoint and sorted."""
    low, high = spans
    if not len(low):
        return np.zeros(len(start), bool)
    at = np.searchsorted(low, start, side="right") - 1
    return np.asarray((at >= 0) & (start < high[np.maximum(at, 0)]))


def _overlaps(spans: Intervals, start: Ints, end: Ints) -> Flags:
    """Flag the intervals that overlap one of the spans, which are disjoint and sorted."""
    low, high = spans
    return np.asarray(np.searchsorted(high, start, side="right") < np.searchsorted(low, end, side="left"))


def _flagged(table: Any, which: Flags, leave: tuple[str, ...] = ()) -> Any:
    """Return a copy of a dataclass of columns with the flagged rows; the columns named in `leave` stay as they are."""
    return _taken(table, np.flatnonzero(which), leave)


def _taken(table: Any, index: Ints, leave: tuple[str, ...] = ()) -> Any:
    """Return a copy of a dataclass of columns with the rows `index`, in that order; `leave` stays as it is."""
    columns = {f.name: getattr(table, f.name) for f in fields(table) if f.name not in leave}
    return replace(table, **{name: column[index] for name, column in columns.items() if isinstance(column, np.ndarray)})


def _joined(tables: Sequence[Any], leave: tuple[str, ...] = ()) -> Any:
    """Return dataclasses of columns as one; name tables grow from piece to piece, so the last piece's are complete."""
    last = tables[-1]
    columns = [f.name for f in fields(last) if f.name not in leave and isinstance(getattr(last, f.name), np.ndarray)]
    return replace(last, **{name: np.concatenate([getattr(table, name) for table in tables]) for name in columns})
