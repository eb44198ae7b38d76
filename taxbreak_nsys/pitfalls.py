"""Warnings about captures that are whole and still mislead: warm-up, the profiler's own work, clocks, cut edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from taxbreak_nsys.intervals import Flags, Ints, percentile
from taxbreak_nsys.launches import KERNEL_LAUNCH, before_launch
from taxbreak_nsys.read.trace import KERNEL, PROCESS_MASK
from taxbreak_nsys.result import Phase, Result, Warning
from taxbreak_nsys.words import STATES, is_kernel_launch

_NOTABLE = 100
"""A share of one part in this many of a phase is worth a warning."""
_WARM_UP_AT_LEAST = 3
_OUTLIERS_AT_LEAST = 5


def of_result(result: Result) -> tuple[Warning, ...]:
    """Return the warnings about how far the phases stand for the program."""
    found: list[Warning] = []
    for check in (_profiler, _clocks, _queue, _edges, _steps):
        found += check(result)
    return tuple(found)


def _single(result: Result) -> Iterator[tuple[Phase, Flags]]:
    """Yield each entry of one thread with the instances that belong to it."""
    instances = result.columns.instances
    identity = instances.thread & ~PROCESS_MASK
    process = (instances.thread >> 24) & 0xFFFFFF
    for entry in result.entries:
        if not entry.combined and entry.phase in instances.labels:
            of_label = instances.label == instances.labels.index(entry.phase)
            yield entry, of_label & (identity == entry.thread) & (process == entry.process)


def _profiler(result: Result) -> list[Warning]:
    shares = [
        f"{entry.phase} {entry.states_ns['profiler'] / entry.wall_ns:.1%}"
        for entry, _ in _single(result)
        if entry.states_ns["profiler"] * _NOTABLE >= entry.wall_ns > 0
    ]
    if not shares:
        return []
    return [
        Warning(
            "profiler_in_phase",
            "the profiler allocated or flushed its buffers inside phases, which made them longer (share of the wall "
            f"time, shown as 'profiler' and in no layer): {', '.join(dict.fromkeys(shares))}",
            "capture with --cuda-flush-interval longer than the run, or leave those instances out",
        )
    ]


def _clocks(result: Result) -> list[Warning]:
    early = int(np.sum(before_launch(result.columns.launches)))
    if not early:
        return []
    return [
        Warning(
            "clock_step",
            f"{early} kernels start before the call that launches them: the clocks of host and device disagree, so "
            "exposed time and device waits are off by as much (T_sys leaves those launches out)",
            "capture again; on a virtual machine, check its clock source",
        )
    ]


def _queue(result: Result) -> list[Warning]:
    launches, of_launch = result.columns.launches, result.columns.launch_instance
    waited = launches.wait_until - launches.start
    full = (launches.kind == KERNEL_LAUNCH) & (waited > 0) & (of_launch >= 0)
    found = []
    for entry, which in _single(result):
        mine = full & which[np.maximum(of_launch, 0)]
        if int(waited[mine].sum()) * _NOTABLE >= entry.wall_ns > 0 and mine.any():
            found.append(f"{int(mine.sum())} in {entry.phase} ({int(waited[mine].sum()) / entry.wall_ns:.1%})")
    if not found:
        return []
    return [
        Warning(
            "launch_queue_full",
            "kernel launches blocked behind earlier work of their stream, as they do when the launch queue is full; "
            f"that part of the wall time counts as waiting for the device: {', '.join(dict.fromkeys(found))}",
            "none is needed: the host is ahead of the device there",
        )
    ]


def _edges(result: Result) -> list[Warning]:
    """Find phases that the capture's start or end cuts; what nsys leaves of them is no whole step."""
    columns = result.columns
    if not columns.instances.marked:
        return []
    instances, ops, launches, ranges = columns.instances, columns.trace.ops, columns.launches, columns.trace.ranges
    orphans = (ops.kind == KERNEL) & (launches.of_op < 0)
    begun, ended = set[str](), set[str]()
    for process in np.unique(instances.thread & PROCESS_MASK).tolist():
        mine = np.flatnonzero((instances.thread & PROCESS_MASK) == process)
        first = mine[np.argmin(instances.start[mine])]
        stray = ops.start[orphans & (ops.process == process)]
        if np.any((stray >= instances.start[first]) & (stray < instances.end[first])):
            begun.add(instances.labels[instances.label[first]])
        of_process = ranges.end[(ranges.thread & PROCESS_MASK) == process]
        # nsys ends what was open when the process or the capture stopped at one and the same moment
        if len(of_process) and np.sum(of_process == of_process.max()) > 1:
            open_still = mine[instances.end[mine] == of_process.max()]
            ended |= {instances.labels[code] for code in instances.label[open_still].tolist()}
        ended |= {instances.labels[code] for code in _unfinished(result, mine).tolist()}
    return [
        Warning(
            f"capture_{side}_in_phase",
            f"the capture {side} inside an instance of {', '.join(sorted(labels))}: part of that instance is missing",
            f"begin and end the capture between steps; to leave the instance out, give {option}",
        )
        for side, labels, option in (("began", begun, "--skip 1 or --start"), ("ended", ended, "--end"))
        if labels
    ]


def _unfinished(result: Result, mine: Ints) -> Ints:
    """Return the label of the last of some instances if it launched kernels that the report no longer has."""
    columns = result.columns
    instances, api, ops = columns.instances, columns.trace.api, columns.trace.ops
    last = mine[np.argmax(instances.end[mine])]
    process = instances.thread[last] & PROCESS_MASK
    lone = api.named(np.array([is_kernel_launch(name) for name in api.names], bool))
    lone[columns.launches.api] = False
    lone &= (api.thread == instances.thread[last]) & (api.start >= instances.start[last])
    of_process = ops.end[ops.process == process]
    device_end = int(of_process.max()) if len(of_process) else 0
    return instances.label[[last]] if np.any(lone & (api.start > device_end)) else instances.label[:0]


def _steps(result: Result) -> list[Warning]:
    """Compare the instances of each phase with their median."""
    warm, odd, skip = [], [], 0
    for entry, which in _single(result):
        wall, states = result.columns.steps.wall[which], result.columns.steps.states[which]
        lead = _leading(wall)
        if lead:
            skip = max(skip, lead)
            loading = int(states[:lead, STATES.index("module_load")].sum())
            why = f", {loading / 1e6:.1f} ms of it loading modules" if loading else ""
            warm.append(f"{entry.phase} ({_times(wall[:lead], wall)}{why})")
        out = _outliers(wall, lead)
        if len(out):
            worst = out[np.argmax(wall[out])]
            usual = np.array([percentile(column, 50) or 0 for column in states.T])
            state = STATES[int(np.argmax(states[worst] - usual))]
            odd.append(
                f"{entry.phase} ({len(out)} of {len(wall)}; number {worst + 1} took {_times(wall[[worst]], wall)}, "
                f"most of it more in '{state}')"
            )
    found = []
    if warm:
        found.append(
            Warning(
                "warm_up",
                f"the first instances take longer than the rest, as warm-up does: {', '.join(dict.fromkeys(warm))}",
                f"leave them out with --skip {skip}",
            )
        )
    if odd:
        found.append(
            Warning(
                "steps_stand_out",
                f"single instances stand out, and sums hold them: {', '.join(dict.fromkeys(odd))}",
                "look at them with -r taxbreak_trace; leave them out with --start and --end",
            )
        )
    return found


def _times(some: Ints, of_all: Ints) -> str:
    return f"{int(some.max()) / max(percentile(of_all, 50) or 0, 1):.1f} times the median"


def _leading(wall: Ints) -> int:
    """Return how many of the first instances take more than 1.5 times the median, if they are few enough to tell."""
    if len(wall) < _WARM_UP_AT_LEAST:
        return 0
    slow = 2 * wall > 3 * (percentile(wall, 50) or 0)
    lead = len(wall) if slow.all() else int(np.argmin(slow))
    return lead if 3 * lead <= len(wall) else 0


def _outliers(wall: Ints, lead: int) -> Ints:
    """Return the instances beyond the leading ones that take more than twice the median."""
    if len(wall) < _OUTLIERS_AT_LEAST:
        return np.empty(0, np.int64)
    out = np.flatnonzero(wall > 2 * (percentile(wall, 50) or 0))
    return out[out >= lead]
