"""Times that the replay needs where a phase, changed, does what it did not do in the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.columns import Columns
from taxbreak_nsys.intervals import Ints, percentile
from taxbreak_nsys.read.trace import KERNEL

MIN_SAMPLES = 20
AHEAD_NS = 20_000
"""A kernel launched this long before its stream became free waited in the queue, whatever the launch cost."""
ASSUMED_GAP_NS = 1_000
ASSUMED_GRAPH_GAP_NS = 500
GRAPH_LAUNCH_NS_PER_NODE = 200


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
    def of(cls, columns: Columns, t_sys_ns: int) -> Typical:
        """Measure them in a report, or take the assumed ones where it has fewer than 20 samples."""
        gap, source = _or_assumed(_gaps(columns, graph=False), ASSUMED_GAP_NS, "queued kernels of this report")
        graph_gap, graph_source = _or_assumed(
            _gaps(columns, graph=True), min(ASSUMED_GRAPH_GAP_NS, gap), "graph nodes of this report"
        )
        return cls(t_sys_ns, gap, source, graph_gap, graph_source)


def _or_assumed(values: Ints, assumed: int, source: str) -> tuple[int, str]:
    median = percentile(values, 50)
    if median is None or len(values) < MIN_SAMPLES:
        return assumed, "assumed"
    return median, f"median of {source}"


def _gaps(columns: Columns, *, graph: bool) -> Ints:
    """Return the gaps between neighbouring kernels of a stream where the later one was queued early enough."""
    ops, launches = columns.trace.ops, columns.launches
    held = np.flatnonzero(launches.of_op >= 0)
    order = held[np.lexsort((ops.start[held], ops.stream[held]))]
    before, after = order[:-1], order[1:]
    same_launch = launches.of_op[before] == launches.of_op[after]
    queued = launches.start[launches.of_op[after]] + AHEAD_NS < ops.end[before]
    which = (ops.stream[before] == ops.stream[after]) & (ops.kind[before] == KERNEL) & (ops.kind[after] == KERNEL)
    which &= (same_launch & ops.graph_node[after]) if graph else (queued & ~same_launch)
    gap = ops.start[after] - ops.end[before]
    return gap[which & (gap >= 0)]
