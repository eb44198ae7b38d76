"""Cut a report into windows of time that are measured one by one; their sums equal the sums of the whole report.

A window ends, on each launching thread, where no phase instance is open. Rows that reach beyond its end are kept for
the next window. A small report is one window. If the report contradicts `model.assumptions` (rows out of order, device
work long after its launch), WrongAssumption is raised, and the caller reads the report again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from taxbreak_nsys.arrays.id_set import IdSet
from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Ints
from taxbreak_nsys.measure.blocking import BlockingLimits
from taxbreak_nsys.measure.measure import LayerEvidence, measure
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.assumptions import Assumptions, WrongAssumption
from taxbreak_nsys.model.launches import Before, find_launches
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Trace, runs
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.pipeline.window_cuts import cut_plans
from taxbreak_nsys.read.report_reader import Assembled, Reader
from taxbreak_nsys.read.sample_reader import SampleReader
from taxbreak_nsys.read.table_stream import overlapping
from taxbreak_nsys.totals.warning_facts import Piece

_STEPS_AHEAD = (100, 10, 1)
"""Divisors of `look_ahead_ns`: device work is read ever further beyond a window's end until every launch has some."""
_LARGER = 10
"""Factor on an assumed time that proved too short by an unknown amount."""


class Windows:
    """Cuts a report into pieces, in the order of time."""

    def __init__(
        self,
        reader: Reader,
        samples: SampleReader | None,
        instances: Instances,
        threads: Sequence[int],
        evidence: LayerEvidence,
        rows: int,
        assumptions: Assumptions,
    ) -> None:
        """Prepare windows of about `rows` rows from `reader` and `samples`; `threads` are the launching threads."""
        self._reader, self._samples, self._rows = reader, samples, rows
        self._instances, self._evidence, self._assumptions = instances, evidence, assumptions
        self._low = dict.fromkeys(threads, NEVER)
        self._plans = cut_plans(instances, threads)
        self._used_until = NEVER
        self._queued = np.empty(0, np.int64)
        self._gone_calls, self._given_up = IdSet(), IdSet()
        self._seen = dict.fromkeys(reader.ops, 0)
        self._looks = len(_STEPS_AHEAD)

    def pieces(self, limits: BlockingLimits) -> Generator[Piece]:
        """Yield the pieces in the order of time; on busy streams, calls longer than `limits` count as blocked."""
        while True:
            cut = self._cut(self._read())
            until = max(cut.values(), default=FOREVER)
            for stream in self._reader.streams:
                stream.until(until)
            assembled = self._assembled(until)
            yield self._piece(assembled, cut, until, limits)
            if until == FOREVER:
                return
            self._low = cut

    def _read(self) -> int:
        """Read about one window of rows; return the moment (ns) up to which all tables have been read."""
        streams, reached = self._reader.streams, max(self._low.values(), default=NEVER)
        if self._assumptions.one_window:
            return FOREVER
        while True:
            behind = min(streams, key=lambda stream: stream.horizon)
            enough = sum(stream.held for stream in streams) >= self._rows and behind.horizon > reached
            if behind.horizon == FOREVER or enough:
                return behind.horizon
            behind.pull()

    def _cut(self, moment: int) -> dict[int, int]:
        """Return the end of each thread's window: the moment, or the end of the instances that are open at it."""
        cut: dict[int, int] = {}
        for plan in self._plans:
            cut |= plan.cuts(moment)
        return {thread: max(end, self._low[thread]) for thread, end in cut.items()}

    def _assembled(self, until: int) -> Assembled:
        """Return the rows in memory as a trace; device work is read up to `look_ahead_ns` beyond `until`."""
        for part in _STEPS_AHEAD[: self._looks]:
            ahead = self._assumptions.look_ahead_ns // part
            for stream in self._reader.ops.values():
                stream.until(min(until, FOREVER - ahead) + ahead)
            assembled = self._reader.assemble(until)
            incomplete = self._launch_waits(assembled.trace, until)
            if not incomplete or until == FOREVER:
                break
        # Searching this far found nothing; search less far for the next window.
        self._looks = 2 if incomplete and not self._assumptions.patient else len(_STEPS_AHEAD)
        self._check_late(assembled)
        return assembled

    @staticmethod
    def _launch_waits(trace: Trace, until: int) -> bool:
        """Return whether any kernel launch call before the moment `until` has no device work yet."""
        api = trace.api
        launches = api.named(name_rules.is_kernel_launch)
        launches[trace.ops.api[trace.ops.api >= 0]] = False
        return bool(np.any(launches & (api.start < until)))

    def _check_late(self, assembled: Assembled) -> None:
        """Raise WrongAssumption if a launch or its device work is read after the other was already counted."""
        api, ops, assumptions = assembled.trace.api, assembled.trace.ops, self._assumptions
        is_new = np.concatenate([np.arange(len(s.rows)) >= self._seen[kind] for kind, s in self._reader.ops.items()])
        new = np.flatnonzero(is_new & (ops.api >= 0))
        late = new[api.start[ops.api[new]] < self._used_until]
        if len(late):
            raise WrongAssumption(look_ahead_ns=2 * int((ops.start[late] - api.start[ops.api[late]]).max()))
        orphans = assembled.op_rows.take(is_new & (ops.api < 0))
        if self._gone_calls.holds(orphans["process"], orphans["correlation_id"]):
            raise WrongAssumption(look_ahead_ns=_LARGER * assumptions.look_ahead_ns)
        calls = self._reader.api.rows
        if self._given_up.holds(calls["thread"] & PROCESS_MASK, calls["correlation_id"]):
            raise WrongAssumption(orphan_ns=_LARGER * assumptions.orphan_ns)

    def _piece(self, assembled: Assembled, cut: dict[int, int], until: int, limits: BlockingLimits) -> Piece:
        """Return the measured window up to `cut`, and drop the rows that no later window needs."""
        trace = assembled.trace
        launches = find_launches(trace, Before(self._queued, limits.of(len(trace.api.names))))
        low, high = (_by_thread(launches.thread, bounds) for bounds in (self._low, cut))
        own = (launches.start >= low) & (launches.start < high)
        limits.learn(trace, launches, own)
        instances, first = self._instances, _by_thread(self._instances.thread, self._low)
        inside = (instances.start >= first) & (instances.start < _by_thread(instances.thread, cut))
        sampled = self._samples.until(until) if self._samples else None
        evidence = replace(self._evidence, samples=sampled)
        columns = measure(trace, launches, instances.keep(inside), evidence, assembled.op_rows["wait"])
        moment = self._moment(trace, cut)
        orphans = (launches.of_op < 0) & ~assembled.op_rows.flag("done")
        if until != FOREVER:
            orphans &= trace.ops.end <= moment - self._assumptions.orphan_ns
        own_ops = (launches.of_op >= 0) & own[launches.of_op] if len(launches) else np.zeros(len(trace.ops), bool)
        since, settled = self._used_until, None if until == FOREVER else moment
        if settled is not None:
            self._drop(assembled, columns, own_ops, orphans, moment, until)
        return Piece(
            columns=columns,
            index=np.flatnonzero(inside),
            own=own,
            own_ops=own_ops | orphans,
            since=since,
            settled=settled,
        )

    def _moment(self, trace: Trace, cut: dict[int, int]) -> int:
        """Return the moment (ns) such that the next window needs only rows that end after it."""
        moment = min(cut.values(), default=FOREVER)
        for thread, end in cut.items():
            part = trace.api.thread_slice(thread)
            open_calls = (trace.api.start[part] < end) & (trace.api.end[part] > end)
            if open_calls.any():
                moment = min(moment, int(trace.api.start[part][open_calls].min()))
        return moment

    def _drop(
        self, assembled: Assembled, columns: Measured, own_ops: Flags, orphans: Flags, moment: int, until: int
    ) -> None:
        """Drop the rows that no later window needs; keep their ids and the ends of queued operations."""
        reader, trace, launches = self._reader, assembled.trace, columns.launches
        api, ops = trace.api, trace.ops
        call_stays = (api.end > moment) | (api.start >= moment)
        row_stays = np.ones(len(reader.api.rows), bool)
        row_stays[assembled.rows] = call_stays[assembled.call_of_row]
        dropped = reader.api.rows.take(~row_stays)
        self._gone_calls.add(dropped["thread"] & PROCESS_MASK, dropped["correlation_id"])
        given_up = assembled.op_rows.take(orphans)
        self._given_up.add(given_up["process"], given_up["correlation_id"])
        reader.api.drop(until, row_stays)
        for stream in (reader.ranges, reader.os_calls):
            stream.drop(until, overlapping(stream.rows, moment))

        queued = np.flatnonzero(launches.of_op >= 0)
        queued = queued[launches.start[launches.of_op[queued]] < moment]
        if len(queued):
            grown = np.full(max(len(self._queued), int(ops.stream[queued].max()) + 1), NEVER)
            grown[: len(self._queued)] = self._queued
            np.maximum.at(grown, ops.stream[queued], ops.end[queued])
            self._queued = grown
        joined = ops.api >= 0
        # Device work without a launch stays: its call may still be read, unless the work was counted or given up.
        op_stays = (ops.end > moment) | ~(joined | orphans | assembled.op_rows.flag("done"))
        op_stays[joined] |= call_stays[ops.api[joined]]
        if self._samples:
            self._samples.drop(moment, until)
        at = 0
        for kind, stream in reader.ops.items():
            rows = stream.rows
            part = slice(at, at + len(rows))
            at += len(rows)
            rows.columns["done"] = rows.flag("done") | own_ops[part] | orphans[part]
            rows.columns["wait"] = columns.communication.wait[part]
            stream.drop(until, op_stays[part])
            self._seen[kind] = len(stream.rows)
        self._used_until = until


def _by_thread(thread: Ints, bounds: dict[int, int]) -> Ints:
    """Return for each row the bound of its thread; NEVER for threads without a bound."""
    result = np.full(len(thread), NEVER, np.int64)
    for low, high in runs(thread):
        result[low:high] = bounds.get(int(thread[low]), NEVER)
    return result
