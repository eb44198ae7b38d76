"""Launches: which API calls have device work, on which streams, and which calls waited for earlier work.

Method sections 1 (terms), 3 (blocking copies and launches) and 4 (T_sys).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts, group_sums
from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.trace_columns import GRAPH, KERNEL, Trace, runs

LAUNCH_KINDS = range(4)
KERNEL_LAUNCH, GRAPH_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH = LAUNCH_KINDS
KIND_NAMES = ("kernel", "graph", "memory", "unmeasured_graph")

BLOCKING_FACTOR = 10
BLOCKING_MIN_CALLS = 5
BLOCKING_DEFAULT_NS = 50_000


@dataclass(frozen=True)
class Launches:
    """The launches of a report, sorted by (thread, start); columns of one length, times in ns.

    `api` is the index of the call, `kind` one of the constants above. `queued_until` is the latest end of the device
    operations that earlier launches had queued on the launch's streams (NEVER without any). The call waits for them
    until `wait_until`, which equals its start if it does not wait. `kernels` is the number of kernels.
    `first_op_start` and `first_kernel_start` are device times (0 without operations or kernels); `device_ns` is the
    sum of the durations of the launch's kernels and graphs.
    """

    api: Ints
    start: Ints
    end: Ints
    thread: Ints
    kind: Ints
    queued_until: Ints
    wait_until: Ints
    kernels: Ints
    first_op_start: Ints
    first_kernel_start: Ints
    device_ns: Ints
    of_op: Ints
    """For each device operation, the index of its launch; -1 where the report has no call for it."""

    def __len__(self) -> int:
        return len(self.api)

    @property
    def idle_stream(self) -> Flags:
        """A flag per launch: whether its streams were idle (method section 1); never for unmeasured graphs."""
        return (self.queued_until <= self.start) & (self.kind != UNMEASURED_GRAPH)


@dataclass(frozen=True)
class Before:
    """State that a piece of a report takes over from the pieces before it.

    `queued_until` has by stream code the latest end (ns) of the operations that earlier launches had queued.
    `blocking_limit` has by API name code the duration (ns) above which a call on a busy stream counts as blocked;
    where it is None, the piece's own calls decide the limits.
    """

    queued_until: Ints
    blocking_limit: Ints | None = None


NOTHING_BEFORE = Before(np.empty(0, np.int64))


def find_launches(trace: Trace, before: Before = NOTHING_BEFORE) -> Launches:
    """Return the classified launches of a report or of a piece of a report (method section 1)."""
    api, ops = trace.api, trace.ops
    calls = len(api)
    joined = np.flatnonzero(ops.api >= 0)
    of_call = ops.api[joined]

    def count(which: Flags) -> Ints:
        return np.bincount(of_call[which[joined]], minlength=calls).astype(np.int64)

    op_count = count(np.ones(len(ops), bool))
    kernels = count(ops.kind == KERNEL)
    graph_ops = count(ops.graph_node | (ops.kind == GRAPH))
    graph_named = api.named(name_rules.is_graph_launch)

    index = np.flatnonzero((op_count > 0) | graph_named)
    kind = np.full(len(index), MEMORY_LAUNCH, np.int64)
    kind[kernels[index] > 0] = KERNEL_LAUNCH
    kind[graph_named[index] | (graph_ops[index] > 0)] = GRAPH_LAUNCH
    kind[op_count[index] == 0] = UNMEASURED_GRAPH

    launch_of_call = np.full(calls, -1, np.int64)
    launch_of_call[index] = np.arange(len(index))
    of_op = np.full(len(ops), -1, np.int64)
    of_op[joined] = launch_of_call[of_call]

    start, end = api.start[index], api.end[index]
    queued_until = _queue_ends(of_op, ops.stream, ops.end, start, before.queued_until)
    waited = _blocked(trace, index, start, end, queued_until, kind, before.blocking_limit)
    return Launches(
        api=index,
        start=start,
        end=end,
        thread=api.thread[index],
        kind=kind,
        queued_until=queued_until,
        wait_until=np.where(waited, np.minimum(end, queued_until), start),
        kernels=kernels[index],
        first_op_start=_first(of_op, ops.start, len(index), np.ones(len(ops), bool)),
        first_kernel_start=_first(of_op, ops.start, len(index), ops.kind == KERNEL),
        device_ns=_sum(of_op, ops.end - ops.start, len(index), ops.computes),
        of_op=of_op,
    )


def _first(of_op: Ints, value: Ints, count: int, which: Flags) -> Ints:
    big = np.iinfo(np.int64).max
    result = np.full(count, big, np.int64)
    which = which & (of_op >= 0)
    np.minimum.at(result, of_op[which], value[which])
    return np.where(result == big, 0, result)


def _sum(of_op: Ints, value: Ints, count: int, which: Flags) -> Ints:
    which = which & (of_op >= 0)
    return group_sums(of_op[which], value[which], count)


def _queue_ends(of_op: Ints, stream: Ints, op_end: Ints, launch_start: Ints, known: Ints) -> Ints:
    """Return for each launch the latest end (ns) of the operations that earlier launches had queued on its streams.

    Launches are ordered by the start of their calls; launches that start in the same nanosecond are not earlier than
    each other. `known` has by stream code the latest end of operations of previous pieces.
    """
    result = np.full(len(launch_start), NEVER, np.int64)
    joined = np.flatnonzero(of_op >= 0)
    if not len(joined):
        return result
    launch, on = of_op[joined], stream[joined]
    started = launch_start[launch]
    order = np.lexsort((started, on))
    launch, on, started, end = launch[order], on[order], started[order], op_end[joined][order]
    for low, high in runs(on):
        reach = np.maximum.accumulate(end[low:high])
        at = started[low:high]
        before = np.searchsorted(at, at, side="left") - 1
        floor = known[on[low]] if on[low] < len(known) else NEVER
        earlier = np.maximum(np.where(before >= 0, reach[np.maximum(before, 0)], NEVER), floor)
        np.maximum.at(result, launch[low:high], earlier)
    return result


def _blocked(
    trace: Trace, index: Ints, start: Ints, end: Ints, queued_until: Ints, kind: Ints, limit: Ints | None
) -> Flags:
    """Return a flag per launch: its stream was busy and the call took longer than its name's limit (section 3)."""
    name, duration = trace.api.name[index], end - start
    if limit is None:
        idle = (queued_until <= start) & (kind != UNMEASURED_GRAPH)
        limit = durations_limit(name[idle], duration[idle], len(trace.api.names))
    return (start < queued_until) & (duration > limit[name])


def durations_limit(name: Ints, usual: Ints, names: int) -> Ints:
    """Return `blocking_limit` from name codes and durations (ns) of calls that met an idle stream."""
    durations = ValueCounts()
    durations.add(name, usual)
    return blocking_limit(durations, names)


def blocking_limit(usual: ValueCounts, names: int) -> Ints:
    """Return by API name code the duration beyond which a call on a busy stream counts as blocked, ns (section 3).

    `usual` has the durations, by name, of the calls that met an idle stream.
    """
    limit = np.full(names, BLOCKING_DEFAULT_NS, np.int64)
    for code, stats in usual.stats().items():
        if stats.count >= BLOCKING_MIN_CALLS:
            limit[code] = BLOCKING_FACTOR * stats.median
    return limit


@dataclass(frozen=True)
class TSys:
    """The floor of the launch path in ns, and its source (method section 4).

    `lowered_from` is the source's value where launches of the report itself took less: the floor is then lowered to
    their first percentile. None otherwise.
    """

    ns: int
    source: str
    """`given`, `null_report`, `idle_launches` or `paper`."""
    lowered_from: int | None = None


T_SYS_PAPER_NS = 4500
T_SYS_MIN_LAUNCHES = 100


def launch_latency(launches: Launches, chosen: Flags) -> Ints:
    """Return (kernel start - launch start) in ns for the flagged kernel launches.

    Kernels that start before their launch (`before_launch`) are left out: they show a clock offset, not a latency.
    """
    which = chosen & (launches.kind == KERNEL_LAUNCH) & ~before_launch(launches)
    return launches.first_kernel_start[which] - launches.start[which]


def before_launch(launches: Launches) -> Flags:
    """Return a flag per launch: whether its kernel starts before it, because the clocks of host and device disagree."""
    return (launches.kind == KERNEL_LAUNCH) & (launches.first_kernel_start < launches.start)


def estimate_t_sys(latency: ValueCounts) -> TSys:
    """Return T_sys from a report's own launch latencies on idle streams: their first percentile, or the paper's value.

    The paper's value is used with fewer than T_SYS_MIN_LAUNCHES latencies.
    """
    stats = latency.stats().get(0)
    floor = latency.percentile(1)
    if stats is not None and stats.count >= T_SYS_MIN_LAUNCHES and floor is not None:
        return TSys(floor, "idle_launches")
    return floor_at_measured(TSys(T_SYS_PAPER_NS, "paper"), latency)


def floor_at_measured(t_sys: TSys, latency: ValueCounts) -> TSys:
    """Return T_sys, lowered to the first percentile of the report's own launch latencies if that is smaller."""
    measured = latency.percentile(1)
    if measured is None or t_sys.ns <= measured:
        return t_sys
    return TSys(measured, t_sys.source, lowered_from=t_sys.ns)
