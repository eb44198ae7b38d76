"""Make the result from the sums of a report: evidence, layers, verdicts, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taxbreak_nsys.attribution.layers import EVIDENCES
from taxbreak_nsys.attribution.reference import reference_times
from taxbreak_nsys.diagnostics import result_warnings
from taxbreak_nsys.model.detail_rows import DetailRows
from taxbreak_nsys.model.engine_figures import Idle
from taxbreak_nsys.model.event_waits import EventWaits
from taxbreak_nsys.model.launches import TSys
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid, tid
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.pipeline.os_waits import OsWaits
from taxbreak_nsys.pipeline.phase_builder import PhaseBuilder
from taxbreak_nsys.pipeline.process_times import process_times
from taxbreak_nsys.pipeline.sums import Sums
from taxbreak_nsys.read.other_processes import OtherProcess
from taxbreak_nsys.replay.fusion_savings import with_replayed_savings
from taxbreak_nsys.result import Phase, Result, TracedRanges
from taxbreak_nsys.totals import sample_breakdown
from taxbreak_nsys.totals.detail_totals import EntryFacts
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.operator_totals import MovedToLibrary
from taxbreak_nsys.totals.sampled_split import Split, library_interval, merged, precise_enough
from taxbreak_nsys.totals.totals import Totals
from taxbreak_nsys.verdict.verdicts import with_verdicts

_MUCH_OUTSIDE = 20
"""Samples add to the ranges if library time outside them is, at 95 %, above this fraction (1/20) of the time inside."""


def summarise(
    facts: ReportFacts,
    sums: Sums,
    lost: LostRows,
    t_sys: TSys,
    options: Options,
    processes: Sequence[OtherProcess],
    waits: OsWaits,
    event_waits: EventWaits | None,
) -> Result:
    """Return the result of a report: evidence and layers of each phase, verdicts, warnings.

    `lost` has the instances whose CUDA rows the report lost; instances that it drops are in no sum. `event_waits` are
    the synchronisations in the part that is replayed.
    """
    totals = sums.totals
    entries, moved = totals.entries, totals.operators.moved()
    labels = entries.instances.labels
    splits = [
        totals.samples.split(k, totals.steps.states[entries.instances_of(k)].sum(axis=0)) for k in range(len(entries))
    ]
    evidence = [_evidence(totals, moved, k, splits[k], options.evidence) for k in range(len(entries))]
    references = reference_times(options.reference, set(labels)) if options.reference else {}
    phases: list[Phase] = []
    thread_phases: dict[int, Phase] = {}
    for label, members in entries.by_label:
        builder = PhaseBuilder(
            totals=totals,
            lost=lost,
            moved=moved,
            t_sys=t_sys,
            label=labels[label],
            reference_ns=references.get(labels[label]),
        )
        thread_phases |= {k: builder.thread_entry(k, evidence[k], splits[k]) for k in members}
        phases += [thread_phases[k] for k in members]
        if len(members) > 1:
            weakest = max((evidence[k] for k in members), key=EVIDENCES.index)
            group = _common_group(entries, label, members)
            if group is not None:
                phases.append(builder.group_entry(label, group, members, weakest))
                continue
            strata = [split for k in members if (split := splits[k])]
            phases.append(builder.label_entry(label, members, weakest, merged(strata) if strata else None))
    listed = [thread_phases[k] for k in range(len(entries))]
    by_module, by_symbol = sample_breakdown.rows(totals.samples, entries, splits)
    counted = totals.facts
    result = Result(
        report=facts,
        t_sys_ns=t_sys.ns,
        t_sys_source=t_sys.source,
        entries=tuple(phases),
        outside=counted.outside,
        idle=tuple(
            Idle(process=pid(time.process), thread=tid(time.thread), instances=time.instances, total_ns=time.total_ns)
            for time in entries.instances.idle
        ),
        processes=process_times(processes, entries.instances),
        os_waits=waits.rows(os_calls=counted.has_os_calls),
        kernel_rows=tuple(totals.kernels.rows(totals.names["ops"], listed, moved.by_kernel)),
        operator_rows=tuple(totals.operators.rows(totals.names["ranges"], listed, moved.by_operator)),
        api_rows=tuple(totals.calls.rows(totals.names["api"])),
        instances=entries.instances,
        replay_part=sums.stretches.chosen(event_waits),
        step_sums=totals.steps,
        traced_ranges=TracedRanges(
            operator=counted.operator_ranges,
            library=counted.library_ranges + counted.library_calls,
            libraries=tuple(sorted(totals.marking_libraries)),
        ),
        sample_rows=by_module,
        symbol_rows=by_symbol,
        t_base_ns=moved.t_base,
        details=_details(totals, phases, splits),
    )
    result = with_verdicts(result)
    runs = totals.details.runs
    if runs is not None and result.details.fusion is not None:
        fusion = tuple(with_replayed_savings(result, result.details.fusion, runs))
        result = replace(result, details=replace(result.details, fusion=fusion))
    return replace(
        result,
        report=replace(facts, warnings=facts.warnings + result_warnings.result_warnings(result, totals, lost, t_sys)),
    )


def _details(totals: Totals, phases: list[Phase], splits: list[Split | None]) -> DetailRows:
    """Return the requested tables of details."""
    by_key = {(phase.phase, phase.process, phase.thread): phase for phase in phases}
    entry_phases = [by_key[totals.entries.key(k)] for k in range(len(totals.entries))]
    facts = EntryFacts(
        wall=np.array([phase.wall_ns for phase in entry_phases], np.int64),
        steps=np.array([phase.instances for phase in entry_phases], np.int64),
        tokens=[phase.steps.tokens if phase.steps else None for phase in entry_phases],
        measured=[phase.exposed_ns is not None for phase in entry_phases],
    )
    return totals.details.rows(totals.names.get("ops", ()), facts, totals.samples, splits)


def _common_group(entries: PhaseThreads, label: int, members: Sequence[int]) -> int | None:
    """Return the rank group whose ranks run all instances of a label, with paired steps; None without one."""
    instances = entries.instances
    in_label = instances.label == label
    groups = set(np.unique(instances.group[in_label]).tolist())
    if len(groups) != 1 or -1 in groups or not np.any(in_label & (instances.step >= 0)):
        return None
    return int(min(groups))


def _evidence(totals: Totals, moved: MovedToLibrary, entry: int, strata: Split | None, forced: str | None) -> str:
    """Return the best evidence that an entry has; with `forced`, that evidence, or `none` where the entry lacks it.

    Too few samples count only if forced. Ranges are used without samples where samples add nothing to them.
    """
    marked = int(totals.entries.thread[entry]) & PROCESS_MASK in totals.library_processes
    samples = strata is not None and (
        precise_enough(strata) if forced is None else any(s.samples for s in strata.strata)
    )
    available = {
        "ranges": marked,
        "ranges+samples": marked and (forced is not None or _samples_add(totals, entry, strata)),
        "samples": samples,
        "subtractive": moved.t_base is not None and entry in totals.operators.with_dispatch,
        "none": True,
    }
    if forced is not None:
        return forced if available.get(forced) else "none"
    if available["ranges+samples"]:
        return "ranges+samples"
    return next(name for name in EVIDENCES if available.get(name))


def _samples_add(totals: Totals, entry: int, strata: Split | None) -> bool:
    """Return whether samples find library time that the ranges miss: unmarked libraries, or time outside the ranges."""
    if strata is None or not strata.samples:
        return False
    if totals.unmarked_libraries(entry):
        return True
    marked = sum(stratum.time_ns for stratum in strata.strata if stratum.state == "library")
    low, _ = library_interval(strata, FRAMEWORK_STATES)
    return low * _MUCH_OUTSIDE > marked
