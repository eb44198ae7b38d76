"""From the sums of a report to its result: evidence, layers, verdicts, warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, percentile
from taxbreak_nsys.attribution.correction import corrected
from taxbreak_nsys.attribution.layers import EVIDENCES, PhaseSums, split
from taxbreak_nsys.attribution.reference import reference_times
from taxbreak_nsys.attribution.verdict import judge
from taxbreak_nsys.diagnostics import result_warnings
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.detail_rows import DetailRows
from taxbreak_nsys.model.launches import TSys
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid, tid
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases.step_sums import main_source, step_counts
from taxbreak_nsys.pipeline.sums import Sums
from taxbreak_nsys.replay.savings import with_savings
from taxbreak_nsys.result import DeviceTime, LaunchCounts, Phase, Result
from taxbreak_nsys.totals import sample_breakdown
from taxbreak_nsys.totals.detail_totals import EntryFacts
from taxbreak_nsys.totals.operator_totals import MovedToLibrary
from taxbreak_nsys.totals.sampled_split import (
    Split,
    library_interval,
    merged,
    precise_enough,
    sample_figures,
    sampled_layers,
)
from taxbreak_nsys.totals.totals import Totals


def summarise(facts: ReportFacts, sums: Sums, t_sys: TSys, options: Options, columns: Measured | None) -> Result:
    """Say what the sums of a report mean; `columns` are kept with the result where the report is one piece."""
    totals = sums.totals
    of, moved = totals.entries, totals.operators.moved()
    labels = of.instances.labels
    splits = [totals.samples.split(k, totals.steps.states[of.instances_of(k)].sum(axis=0)) for k in range(len(of))]
    evidence = [_evidence(totals, moved, k, splits[k], options.evidence) for k in range(len(of))]
    references = reference_times(options.reference, set(labels)) if options.reference else {}
    entries: list[Phase] = []
    for label, members in of.by_label:
        alone = _Entry(totals, moved, t_sys, labels[label], references.get(labels[label]))
        entries += [alone.of_thread(k, evidence[k], splits[k]) for k in members]
        if len(members) > 1:
            weakest = max((evidence[k] for k in members), key=EVIDENCES.index)
            strata = [split for k in members if (split := splits[k])]
            entries.append(alone.of_label(label, members, weakest, merged(strata) if strata else None))
    entries = with_savings(entries, sums.stretches, [of.key(k) for k in range(len(of))], t_sys.ns)
    by_module, by_symbol = sample_breakdown.rows(totals.samples, of, splits)
    result = Result(
        facts, t_sys.ns, t_sys.source, tuple(entries), totals.facts.outside,
        tuple(totals.kernels.rows(totals.names["ops"], evidence, moved.by_kernel)),
        tuple(totals.operators.rows(totals.names["ranges"], evidence, moved.by_operator)),
        tuple(totals.calls.rows(totals.names["api"])),
        of.instances, columns, by_module, by_symbol, moved.t_base, _details(totals, entries, splits),
    )  # fmt: skip
    return replace(
        result, report=replace(facts, warnings=facts.warnings + result_warnings.result_warnings(result, totals))
    )



def _details(totals: Totals, entries: list[Phase], splits: list[Split | None]) -> DetailRows:
    """Return the tables of details that were asked for."""
    by_key = {(entry.phase, entry.process, entry.thread): entry for entry in entries}
    phases = [by_key[totals.entries.key(k)] for k in range(len(totals.entries))]
    facts = EntryFacts(
        wall=np.array([entry.wall_ns for entry in phases], np.int64),
        steps=np.array([entry.instances for entry in phases], np.int64),
        tokens=[entry.steps.tokens if entry.steps else None for entry in phases],
        measured=[entry.exposed_ns is not None for entry in phases],
    )
    return totals.details.rows(totals.names.get("ops", ()), facts, totals.samples, splits)


def _evidence(totals: Totals, moved: MovedToLibrary, entry: int, strata: Split | None, forced: str | None) -> str:
    """Return the best evidence that an entry has, or the one that was asked for if it has that.

    Samples that are too few count where they are asked for.
    """
    samples = strata is not None and (
        precise_enough(strata) if forced is None else any(s.samples for s in strata.strata)
    )
    available = {
        "ranges": int(totals.entries.thread[entry]) & PROCESS_MASK in totals.library_processes,
        "samples": samples,
        "subtractive": moved.t_base is not None and entry in totals.operators.with_dispatch,
        "none": True,
    }
    if forced is not None:
        return forced if available.get(forced) else "none"
    return next(name for name in EVIDENCES if available.get(name))


class _Entry:
    """Sums up phase entries of one label: one thread's instances, or those of all threads that share it."""

    def __init__(
        self, totals: Totals, moved: MovedToLibrary, t_sys: TSys, label: str, reference_ns: int | None
    ) -> None:
        self._totals, self._moved, self._t_sys = totals, moved, t_sys
        self._label, self._reference_ns = label, reference_ns

    def of_thread(self, entry: int, evidence: str, strata: Split | None) -> Phase:
        """Return the entry of one thread."""
        which = self._totals.entries.instances_of(entry)
        active = self._totals.device.active_ns(entry)
        thread = int(self._totals.entries.thread[entry])
        return self._of(which, [entry], thread, active, evidence, strata)

    def of_label(self, label: int, members: list[int], evidence: str, strata: Split | None) -> Phase:
        """Return the entry of all threads."""
        which = self._totals.instances.label == label
        return self._of(which, members, None, self._totals.device.active_of_label_ns(label), evidence, strata)

    def _of(
        self, which: Flags, members: list[int], thread: int | None, active: int, evidence: str, strata: Split | None
    ) -> Phase:
        totals, steps, instances = self._totals, self._totals.steps, self._totals.instances
        states = dict(zip(STATES, steps.states[which].sum(axis=0).tolist(), strict=True))
        counts = LaunchCounts(
            kernel=int(steps.kernel_launches[which].sum()),
            graph=int(steps.graph_launches[which].sum()),
            memory=int(steps.memory_launches[which].sum()),
            unmeasured_graph=int(steps.unmeasured_graphs[which].sum()),
        )
        exposed: dict[str, int] | None = None
        device = DeviceTime(None, None, None)
        if not counts.unmeasured_graph:
            exposed = dict(zip(STATES, steps.exposed[which].sum(axis=0).tolist(), strict=True))
            device = DeviceTime(active, int(totals.device.kernel_sum[members].sum()), sum(exposed.values()))
        sums = PhaseSums(
            states, counts, device, sum(self._moved.by_entry.get(k, 0) for k in members),
            sampled_layers(strata) if strata else None, library_interval(strata) if strata else None,
        )  # fmt: skip
        walls = steps.wall[which]
        wall, median = int(walls.sum()), percentile(walls, 50)
        layers = split(sums, evidence, self._t_sys.ns)
        steps_of = {
            "wall": wall,
            "delta_ft": layers.delta_ft_ns,
            "delta_ct": layers.delta_ct_ns,
            "delta_kt": layers.delta_kt_ns,
            "t_orchestration": layers.t_orchestration_ns,
            "t_device_active": layers.t_device_active_ns,
        }
        samples = sample_figures(strata, evidence, wall) if strata else None
        count, reference = int(np.sum(which)), self._reference_ns
        return Phase(
            phase=self._label,
            process=None if thread is None else pid(thread),
            thread=None if thread is None else tid(thread),
            instances=count,
            wall_ns=wall,
            wall_median_ns=median,
            launches=counts,
            kernels=int(steps.kernels[which].sum()),
            states_ns=states,
            in_os_ns=dict(zip(STATES, steps.in_os[which].sum(axis=0).tolist(), strict=True)),
            exposed_ns=exposed,
            device=device,
            taxbreak=layers,
            samples=samples,
            corrected=corrected(sums, layers, strata, reference, count, median) if reference and median else None,
            verdict=judge(exposed, states, layers, wall, samples),
            phase_source=main_source(instances, which),
            steps=step_counts(instances, which, steps_of),
        )
