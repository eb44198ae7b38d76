"""Times that the replay needs where a phase, changed, does what it did not do in the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts, ValueStats
from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.errors import UnorderedError
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.replay_columns import ReplayColumns, ReplayPart
from taxbreak_nsys.model.trace_columns import KERNEL, runs

MIN_SAMPLES = 20
AHEAD_NS = 20_000
"""A kernel launched this long before its stream became free waited in the queue, whatever the launch cost."""
ASSUMED_GAP_NS = 1_000
ASSUMED_GRAPH_GAP_NS = 500
GRAPH_LAUNCH_NS_PER_NODE = 200
_QUEUED, _NODES = range(2)


@dataclass(frozen=True)
class Typical:
    """Typical times in ns, each with where it comes from.

    `latency` is from the launching call to its kernel on an idle stream (T_sys), `gap` between two kernels
    that wait in one stream's queue, `graph_gap` between two nodes of a CUDA graph.
    """

    latency: int
    gap: int
    gap_source: str
    graph_gap: int
    graph_gap_source: str

    @classmethod
    def of(cls, part: ReplayPart, t_sys_ns: int) -> Typical:
        """Return the medians over a report, or the assumed times where it has fewer than 20 gaps."""
        gap, source = _or_assumed(part.queued_gaps, ASSUMED_GAP_NS, "queued kernels of this report")
        graph_gap, graph_source = _or_assumed(
            part.node_gaps, min(ASSUMED_GRAPH_GAP_NS, gap), "graph nodes of this report"
        )
        return cls(
            latency=t_sys_ns, gap=gap, gap_source=source, graph_gap=graph_gap, graph_gap_source=graph_source
        )

class Gaps:
    """The gaps between neighbouring kernels of a stream where the later one was queued early enough.

    Pieces of a report are added in the order of time.
    """

    def __init__(self) -> None:
        self._found = ValueCounts()
        self._last: dict[int, tuple[int, int, bool]] = {}

    def add(self, columns: Measured, own: Flags) -> None:
        """Add a piece's operations that are flagged and have a launch; UnorderedError where pieces interleave."""
        ops, launches = columns.trace.ops, columns.launches
        held = np.flatnonzero(own & (launches.of_op >= 0))
        order = held[np.lexsort((ops.start[held], ops.stream[held]))]
        before, after = order[:-1], order[1:]
        same_launch = launches.of_op[before] == launches.of_op[after]
        queued = launches.start[launches.of_op[after]] + AHEAD_NS < ops.end[before]
        which = (ops.stream[before] == ops.stream[after]) & (ops.kind[before] == KERNEL) & (ops.kind[after] == KERNEL)
        gap = ops.start[after] - ops.end[before]
        which &= gap >= 0
        for group, of in ((_QUEUED, queued & ~same_launch), (_NODES, same_launch & ops.graph_node[after])):
            found = gap[which & of]
            self._found.add(np.full(len(found), group, np.int64), found)
        for low, high in runs(ops.stream[order]):
            self._across(columns, int(order[low]))
            last = int(order[high - 1])
            self._last[int(ops.stream[last])] = (
                int(ops.start[last]),
                int(ops.end[last]),
                bool(ops.kind[last] == KERNEL),
            )

    def _across(self, columns: Measured, first: int) -> None:
        """Count the gap between the last operation of a stream in earlier pieces and its first one in this."""
        ops, launches = columns.trace.ops, columns.launches
        last = self._last.get(int(ops.stream[first]))
        if last is None:
            return
        start, end, is_kernel = last
        if ops.start[first] < start:
            raise UnorderedError
        gap = int(ops.start[first]) - end
        queued = int(launches.start[launches.of_op[first]]) + AHEAD_NS < end
        if is_kernel and ops.kind[first] == KERNEL and queued and gap >= 0:
            self._found.add(np.array([_QUEUED]), np.array([gap]))

    def part(self, columns: ReplayColumns, windows: dict[int, tuple[tuple[int, int], ...]] | None) -> ReplayPart:
        """Return what there is to replay, with the gaps of the whole report."""
        stats = self._found.stats()
        return ReplayPart(columns, windows, stats.get(_QUEUED), stats.get(_NODES))


def _or_assumed(found: ValueStats | None, assumed: int, source: str) -> tuple[int, str]:
    if found is None or found.count < MIN_SAMPLES:
        return assumed, "assumed"
    return found.median, f"median of {source}"
