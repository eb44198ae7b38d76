"""Warnings about complete captures that mislead: warm-up, work of the profiler, clocks, instances cut at the edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, percentile
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.result import Phase, Result
from taxbreak_nsys.totals.totals import Totals

_NOTABLE = 100
"""A share of at least 1 / 100 of a phase's wall time is worth a warning."""
_OFTEN = 20
"""Module loading is worth a warning from 1 / 20 of a phase's wall time."""
_WARM_UP_AT_LEAST = 3
_OUTLIERS_AT_LEAST = 5


def misleading_warnings(result: Result, totals: Totals) -> tuple[ReportWarning, ...]:
    """Return the warnings about phases that differ from the usual run of the program."""
    warnings: list[ReportWarning] = []
    for check in (_profiler, _clocks, _loading, _queue, _edges, _steps):
        warnings += check(result, totals)
    return tuple(warnings)


def _single(result: Result, totals: Totals) -> Iterator[tuple[Phase, int]]:
    """Yield each entry of a single thread with its number in the totals."""
    entries = totals.entries
    number: dict[tuple[str, int | None, int | None], int] = {entries.key(k): k for k in range(len(entries))}
    for entry in result.entries:
        if not entry.combined:
            yield entry, number[entry.phase, entry.process, entry.thread]


def _profiler(result: Result, totals: Totals) -> list[ReportWarning]:
    shares = [
        f"{entry.phase} {entry.states_ns['profiler'] / entry.wall_ns:.1%}"
        for entry, _ in _single(result, totals)
        if entry.states_ns["profiler"] * _NOTABLE >= entry.wall_ns > 0
    ]
    if not shares:
        return []
    return [
        ReportWarning(
            "profiler_in_phase",
            "the profiler allocated or flushed its buffers inside phases, which made them longer (share of the wall "
            f"time, shown as 'profiler' and in no layer): {', '.join(dict.fromkeys(shares))}",
            "capture with --cuda-flush-interval longer than the run, or leave those instances out",
        )
    ]


def _clocks(result: Result, totals: Totals) -> list[ReportWarning]:
    """Warn if the clocks disagree: work before its launch (too early) or after its synchronisation (too late)."""
    warnings, facts = [], totals.facts
    if facts.early_kernels:
        warnings.append(
            ReportWarning(
                "clock_step",
                f"{facts.early_kernels} kernels start before the call that launches them: the clocks of host and "
                "device disagree, so exposed time and device waits are off by as much (T_sys leaves such launches out)",
                "capture again; on a virtual machine, check its clock source",
            )
        )
    clock = facts.clock
    if 2 * clock.late > clock.synchronisations:
        warnings.append(
            ReportWarning(
                "clock_late",
                f"device work ends after {clock.late} of {clock.synchronisations} synchronisations "
                f"that waited for it, by up to {clock.largest_ns / 1e6:.3f} ms: the device's timestamps are late, so "
                "exposed time, T_sys and HDBI are off by as much",
                "capture again; give --t-sys, as it cannot be measured from the launches of this report",
            )
        )
    return warnings


def _loading(result: Result, totals: Totals) -> list[ReportWarning]:
    """Warn if CUDA loads modules inside phases, which the first use of each kernel causes."""
    shares = [
        f"{entry.phase} {entry.states_ns['module_load'] / entry.wall_ns:.1%}"
        for entry, _ in _single(result, totals)
        if entry.states_ns["module_load"] * _OFTEN >= entry.wall_ns > 0
    ]
    if not shares:
        return []
    return [
        ReportWarning(
            "module_loading",
            "CUDA loads modules inside phases, on the first use of their kernels (share of the wall time, in no "
            f"layer): {', '.join(dict.fromkeys(shares))}",
            "warm up before capturing: run every shape once; CUDA_MODULE_LOADING=EAGER loads all modules at the start",
        )
    ]


def _queue(result: Result, totals: Totals) -> list[ReportWarning]:
    blocked = []
    for entry, number in _single(result, totals):
        calls, waited = totals.facts.queued.get(number, (0, 0))
        if calls and waited * _NOTABLE >= entry.wall_ns > 0:
            blocked.append(f"{calls} in {entry.phase} ({waited / entry.wall_ns:.1%})")
    if not blocked:
        return []
    return [
        ReportWarning(
            "launch_queue_full",
            "kernel launches blocked behind earlier work of their stream, as they do when the launch queue is full; "
            f"that part of the wall time counts as waiting for the device: {', '.join(dict.fromkeys(blocked))}",
            "no action is needed: the host is ahead of the device there",
        )
    ]


def _edges(result: Result, totals: Totals) -> list[ReportWarning]:
    """Warn if the start or end of the capture cuts an instance: a part of an instance is no step."""
    instances = totals.instances
    if not instances.marked:
        return []
    begun, ended = (
        {instances.labels[instances.label[number]] for number in cut}
        for cut in (totals.facts.begun_inside, totals.facts.ended_inside)
    )
    return [
        ReportWarning(
            f"capture_{side}_in_phase",
            f"the capture {side} inside an instance of {', '.join(sorted(labels))}: part of that instance is missing",
            f"begin and end the capture between steps; to leave the instance out, give {option}",
        )
        for side, labels, option in (("began", begun, "--skip 1 or --start"), ("ended", ended, "--end"))
        if labels
    ]


def _steps(result: Result, totals: Totals) -> list[ReportWarning]:
    """Warn if the first instances are slower than the rest, or single instances stand out."""
    warm, odd, skip = [], [], 0
    for entry, number in _single(result, totals):
        which = totals.entries.instances_of(number)
        wall, states = totals.steps.wall[which], totals.steps.states[which]
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
    warnings = []
    if warm:
        warnings.append(
            ReportWarning(
                "warm_up",
                f"the first instances take longer than the rest, as warm-up does: {', '.join(dict.fromkeys(warm))}",
                f"warm up before capturing, or leave them out with --skip {skip}",
            )
        )
    if odd:
        warnings.append(
            ReportWarning(
                "steps_stand_out",
                f"single instances stand out, and sums include them: {', '.join(dict.fromkeys(odd))}",
                "list them with -r taxbreak_trace; leave them out with --start and --end",
            )
        )
    return warnings


def _times(instances: Ints, walls: Ints) -> str:
    return f"{int(instances.max()) / max(percentile(walls, 50) or 0, 1):.1f} times the median"


def _leading(wall: Ints) -> int:
    """Return the number of leading instances above 1.5 times the median; 0 if this is more than a third of all."""
    if len(wall) < _WARM_UP_AT_LEAST:
        return 0
    slow = 2 * wall > 3 * (percentile(wall, 50) or 0)
    lead = len(wall) if slow.all() else int(np.argmin(slow))
    return lead if 3 * lead <= len(wall) else 0


def _outliers(wall: Ints, lead: int) -> Ints:
    """Return the instances after the first `lead` ones that take more than twice the median."""
    if len(wall) < _OUTLIERS_AT_LEAST:
        return np.empty(0, np.int64)
    out = np.flatnonzero(wall > 2 * (percentile(wall, 50) or 0))
    return out[out >= lead]
