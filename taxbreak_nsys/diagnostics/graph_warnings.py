"""Warnings about CUDA graph launches without device time: not traced at all, or lost for single steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from taxbreak_nsys.attribution.unmeasured_graphs import rows_lost
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.result import Phase, Result

_MOST_LISTED = 3
"""How many steps of a phase are named with their times."""


def graph_warnings(result: Result) -> Iterator[ReportWarning]:
    """Yield the warnings about phases whose device time, exposed time and HDBI a graph launch leaves unmeasured."""
    untraced = sorted(
        {e.phase for e in result.entries if e.launches.unmeasured_graph and not rows_lost(e.launches)}
    )  # fmt: skip
    if untraced:
        yield ReportWarning(
            "unmeasured_graphs",
            f"CUDA graph launches in {', '.join(untraced)} left no device time in the report: device time, exposed "
            "time and HDBI of those phases are not measured",
            "capture with 'nsys profile --cuda-graph-trace=node'",
        )
    lost = {e.phase: e for e in result.entries if rows_lost(e.launches)}
    if lost:
        steps = "; ".join(f"{phase}: {_steps(result, entry)}" for phase, entry in sorted(lost.items()))
        yield ReportWarning(
            "graph_rows_lost",
            f"nsys lost the device rows of single CUDA graph launches ({steps}): device time, exposed time and HDBI of "
            "those phases are not measured",
            "leave those steps out: --start keeps what starts after a time, --end what ends before it, --skip N leaves "
            "out the first N; or capture again",
        )


def _steps(result: Result, entry: Phase) -> str:
    """Return how many graph launches of a phase have no rows, and in which of its instances; times as of `--start`."""
    counted = f"{entry.launches.unmeasured_graph} of {entry.launches.graph}"
    instances = result.instances
    of_phase = np.flatnonzero(instances.label == instances.labels.index(entry.phase))
    order = of_phase[np.argsort(instances.start[of_phase], kind="stable")]
    numbers = np.flatnonzero(result.step_sums.unmeasured_graphs[order])
    listed = [
        f"number {number + 1}, {instances.start[order[number]]} to {instances.end[order[number]]} ns"
        for number in numbers[:_MOST_LISTED]
    ]
    more = [f"and {len(numbers) - _MOST_LISTED} more"] if len(numbers) > _MOST_LISTED else []
    return ", ".join([counted, *listed, *more])
