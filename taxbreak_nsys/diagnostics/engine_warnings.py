"""Warnings about steps, marks and ranks of serving engines: work outside the marks, ranks that do not pair up."""

from __future__ import annotations

from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.model.trace_columns import pid
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.totals import Totals

MOST_PAST_END = 0.05
"""The largest share of device work after the ends of marked ranges, in the phase's wall time, without a warning."""


def engine_warnings(result: Result, totals: Totals) -> tuple[ReportWarning, ...]:
    """Return the warnings about the marks and ranks of a result."""
    return (*_past_end(totals), *_ranks(totals), *_unpaired(result))


def _past_end(totals: Totals) -> list[ReportWarning]:
    """Warn if instances are marked ranges and the device works on after their ends (method section 2.1)."""
    instances, steps = totals.instances, totals.steps
    shares = []
    for code, label in enumerate(instances.labels):
        which = (instances.label == code) & ~instances.cycle
        wall, past = int(steps.wall[which].sum()), int(steps.past_end[which].sum())
        if wall and past > MOST_PAST_END * wall:
            shares.append(f"{label} ({past / wall:.0%})")
    if not shares:
        return []
    return [
        ReportWarning(
            "device_past_end",
            "the device goes on with the work of marked ranges after they have ended (share of the phase's wall time): "
            f"{', '.join(shares)}; device idle time and exposed time leave this work out",
            "give --instances cycle, which takes a step from the start of its mark to the start of the next",
        )
    ]


def _ranks(totals: Totals) -> list[ReportWarning]:
    """Warn if the ranks of a group have different numbers of steps."""
    return [
        ReportWarning(
            "ranks_differ",
            "the ranks (processes "
            + ", ".join(str(pid(thread)) for thread in group.threads)
            + f") have {', '.join(map(str, group.steps))} steps; the group's numbers cover the {group.paired} "
            "steps that all ranks have",
            "let the capture begin and end on all ranks at the same step",
        )
        for group in totals.instances.groups
        if len(set(group.steps)) > 1
    ]


def _unpaired(result: Result) -> list[ReportWarning]:
    """Warn if collectives have no partner, so that waiting for other ranks cannot be subtracted."""
    phases: dict[str, str] = {}
    for entry in result.entries:
        if entry.communication is not None and entry.communication.reason is not None:
            phases.setdefault(entry.phase, entry.communication.reason)
    if not phases:
        return []
    return [
        ReportWarning(
            "comm_wait_not_measured",
            f"waiting for slower ranks counts as device work in {', '.join(phases)}: "
            + "; ".join(dict.fromkeys(phases.values())),
            "profile all ranks of a host in one report: 'nsys profile --trace-fork-before-exec=true LAUNCHER'",
        )
    ]
