"""Typical delays, for the replay of events that a change causes and the report does not contain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts, ValueStats
from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Ints
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.replay_columns import ReplayColumns, ReplayPart
from taxbreak_nsys.model.assumptions import WrongAssumption
from taxbreak_nsys.model.trace_columns import KERNEL

MIN_SAMPLES = 20
AHEAD_NS = 20_000
"""A kernel launched this long before its stream became free waited in the queue, not for its launch."""
ASSUMED_GAP_NS = 1_000
ASSUMED_GRAPH_GAP_NS = 500
GRAPH_LAUNCH_NS_PER_NODE = 200
_QUEUED, _NODES = range(2)


@dataclass(frozen=True)
class Typical:
    """Typical delays in ns, with the sources of the two gaps.

    `latency` is the time from the launching call to its kernel on an idle stream (T_sys), `gap` the time between two
    kernels queued on one stream, `graph_gap` the time between two nodes of a CUDA graph.
    """

    latency: int
    gap: int
    gap_source: str
    graph_gap: int
    graph_gap_source: str

    @classmethod
    def of(cls, part: ReplayPart, t_sys_ns: int) -> Typical:
        """Return the medians over a report, or assumed times if it has fewer than 20 gaps."""
        gap, source = _or_assumed(part.queued_gaps, ASSUMED_GAP_NS, "queued kernels of this report")
        graph_gap, graph_source = _or_assumed(
            part.node_gaps, min(ASSUMED_GRAPH_GAP_NS, gap), "graph nodes of this report"
        )
        return cls(latency=t_sys_ns, gap=gap, gap_source=source, graph_gap=graph_gap, graph_gap_source=graph_source)


@dataclass(frozen=True)
class _StreamOps:
    """Device operations sorted by (stream, start), with the number and the start (`called`) of their launch."""

    stream: Ints
    start: Ints
    end: Ints
    launch: Ints
    called: Ints
    is_kernel: Flags
    graph_node: Flags

    @classmethod
    def empty(cls) -> _StreamOps:
        """Return columns without rows."""
        none = np.empty(0, np.int64)
        flags = none.astype(bool)
        return cls(
            stream=none, start=none, end=none, launch=none, called=none, is_kernel=flags, graph_node=flags
        )  # fmt: skip

    @classmethod
    def of(cls, columns: Measured, rows: Ints, first_launch: int) -> _StreamOps:
        """Return the operations `rows` of a piece; its launches get the numbers from `first_launch`."""
        ops, launches = columns.trace.ops, columns.launches
        order = rows[np.lexsort((ops.start[rows], ops.stream[rows]))]
        launch = launches.of_op[order]
        return cls(
            stream=ops.stream[order], start=ops.start[order], end=ops.end[order],
            launch=launch + first_launch, called=launches.start[launch],
            is_kernel=ops.kind[order] == KERNEL, graph_node=ops.graph_node[order],
        )  # fmt: skip

    def take(self, which: Ints | Flags) -> _StreamOps:
        """Return the operations with the given indices, in that order."""
        return _StreamOps(**{name: column[which] for name, column in vars(self).items()})

    def joined(self, later: _StreamOps) -> _StreamOps:
        """Return these operations and the `later` ones, sorted."""
        if not len(self.start):
            return later
        both = _StreamOps(
            **{name: np.concatenate([column, getattr(later, name)]) for name, column in vars(self).items()}
        )
        return both.take(np.lexsort((both.start, both.stream)))


class Gaps:
    """The gaps between neighbouring kernels of a stream, if the later kernel was queued early enough.

    Pieces of a report are added in the order of time. Operations that start close to the end of a piece are counted
    with the next piece, whose operations may lie between them.
    """

    def __init__(self, slack_ns: int = 0) -> None:
        """Operations may start up to `slack_ns` before the launches of their piece, because clocks differ."""
        self._lengths = ValueCounts()
        self._slack_ns = slack_ns
        self._pending = _StreamOps.empty()
        self._settled, self._launches = NEVER, 0

    def add(self, columns: Measured, own: Flags, settled: int | None = None) -> None:
        """Add the flagged operations of a piece that have a launch.

        No operation of a later piece starts more than the slack before `settled` (ns; None: there is no later piece).
        Raises WrongAssumption if an operation does.
        """
        rows = np.flatnonzero(own & (columns.launches.of_op >= 0))
        fresh = _StreamOps.of(columns, rows, self._launches)
        self._launches += len(columns.launches)
        early = self._settled - int(fresh.start.min(initial=FOREVER)) if self._settled > NEVER else 0
        if early > 0:
            raise WrongAssumption(clock_slack_ns=2 * (self._slack_ns + early))
        ops = self._pending.joined(fresh)
        self._settled = FOREVER if settled is None else max(self._settled, settled - self._slack_ns)
        self._count(ops)

    def _count(self, ops: _StreamOps) -> None:
        """Count the gaps before operations that start before `_settled`; keep the operations of all other gaps."""
        before, after = slice(None, -1), slice(1, None)
        same_stream = ops.stream[before] == ops.stream[after]
        final = same_stream & (ops.start[after] < self._settled)
        same_launch = ops.launch[before] == ops.launch[after]
        queued = ops.called[after] + AHEAD_NS < ops.end[before]
        gap = ops.start[after] - ops.end[before]
        which = final & ops.is_kernel[before] & ops.is_kernel[after] & (gap >= 0)
        for group, flags in ((_QUEUED, queued & ~same_launch), (_NODES, same_launch & ops.graph_node[after])):
            gaps = gap[which & flags]
            self._lengths.add(np.full(len(gaps), group, np.int64), gaps)
        # an operation is no longer needed once the gap after it has been counted
        keep = np.ones(len(ops.start), bool)
        keep[before] = ~final
        self._pending = ops.take(keep)

    def part(self, columns: ReplayColumns, windows: dict[int, tuple[tuple[int, int], ...]] | None) -> ReplayPart:
        """Return the part to replay, with the gaps of the whole report."""
        stats = self._lengths.stats()
        return ReplayPart(columns, windows, stats.get(_QUEUED), stats.get(_NODES))


def _or_assumed(stats: ValueStats | None, assumed: int, source: str) -> tuple[int, str]:
    if stats is None or stats.count < MIN_SAMPLES:
        return assumed, "assumed"
    return stats.median, f"median of {source}"
