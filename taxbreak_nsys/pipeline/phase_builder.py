"""Build the phases of a result from the sums of a report: per thread, for all threads, or for a group of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints, percentile
from taxbreak_nsys.attribution.correction import Reference, corrected
from taxbreak_nsys.attribution.layers import PhaseSums, SampledSums, split
from taxbreak_nsys.attribution.typical_waits import WAITS
from taxbreak_nsys.measure.slowest_ranks import slowest_ranks
from taxbreak_nsys.model.engine_figures import Ranks
from taxbreak_nsys.model.launches import TSys
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.phases.step_sums import main_source, step_counts
from taxbreak_nsys.pipeline.graph_padding import graph_padding
from taxbreak_nsys.pipeline.rank_figures import communication_time, rank_figures
from taxbreak_nsys.result import DeviceTime, GraphTime, LaunchCounts, Phase
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.operator_totals import MovedToLibrary
from taxbreak_nsys.totals.sampled_split import (
    Split,
    library_interval,
    library_outside_ranges,
    profiler_in_layers,
    sample_figures,
    sampled_layers,
)
from taxbreak_nsys.totals.totals import Totals

P99_FROM = 100
"""The 99th percentile needs at least this many instances."""


@dataclass(frozen=True)
class _Part:
    """The part of a report that an entry covers: the flagged instances, of the phase entries `members`.

    `active_ns` is its T_DeviceActive, `over_base_ns` the time that the subtraction moves to the library layer.
    """

    which: Flags
    members: Sequence[int]
    thread: int | None
    active_ns: int
    over_base_ns: int
    strata: Split | None
    evidence: str
    ranks: Ranks | None = None


class PhaseBuilder:
    """Builds the entries of one phase label."""

    def __init__(
        self, totals: Totals, lost: LostRows, moved: MovedToLibrary, t_sys: TSys, label: str, reference_ns: int | None
    ) -> None:
        """Take the inputs that all entries of the label share; `reference_ns` is its un-profiled median wall time."""
        self._totals, self._lost, self._moved, self._t_sys = totals, lost, moved, t_sys
        self._label, self._reference_ns = label, reference_ns

    def thread_entry(self, entry: int, evidence: str, strata: Split | None) -> Phase:
        """Return the entry of one thread."""
        totals = self._totals
        return self._phase(
            _Part(
                which=totals.entries.instances_of(entry),
                members=[entry],
                thread=int(totals.entries.thread[entry]),
                active_ns=totals.device.active_ns(entry),
                over_base_ns=self._moved.by_entry.get(entry, 0),
                strata=strata,
                evidence=evidence,
            )
        )

    def label_entry(self, label: int, members: Sequence[int], evidence: str, strata: Split | None) -> Phase:
        """Return the entry of all threads together."""
        totals = self._totals
        return self._phase(
            _Part(
                which=totals.instances.label == label,
                members=members,
                thread=None,
                active_ns=totals.device.active_of_label_ns(label),
                over_base_ns=sum(self._moved.by_entry.get(entry, 0) for entry in members),
                strata=strata,
                evidence=evidence,
            )
        )

    def group_entry(self, label: int, group: int, members: Sequence[int], evidence: str) -> Phase:
        """Return the entry of a group of ranks: the sum of the slowest rank of each step (method section 2.3).

        Values that exist only for a rank's whole phase (subtraction, samples) are scaled by the share of its steps in
        which it is the slowest.
        """
        totals, instances, steps = self._totals, self._totals.instances, self._totals.steps
        paired = (instances.label == label) & (instances.group == group) & (instances.step >= 0)
        which = slowest_ranks(instances, steps, paired)
        over_base = 0
        for entry in members:
            own = totals.entries.instances_of(entry) & paired
            if own.any():
                over_base += self._moved.by_entry.get(entry, 0) * int(np.sum(own & which)) // int(np.sum(own))
        strata = totals.samples.split_of_ranks(
            members, steps.states[which].sum(axis=0), steps.states[instances.label == label].sum(axis=0)
        )
        return self._phase(
            _Part(
                which=which,
                members=members,
                thread=None,
                active_ns=int(steps.active[which].sum()),
                over_base_ns=over_base,
                strata=strata,
                evidence=evidence,
                ranks=rank_figures(totals, paired, which, label, group),
            )
        )

    def _outside_modules(self, part: _Part) -> set[str]:
        """Return the library modules that samples of an entry outside library ranges are in."""
        samples = self._totals.samples
        return {name for k in part.members for name in samples.library_modules(k, FRAMEWORK_STATES)}

    def _phase(self, part: _Part) -> Phase:
        """Return the entry of one part of the report."""
        steps, instances, which = self._totals.steps, self._totals.instances, part.which
        states = _by_state(steps.states[which])
        launches = LaunchCounts(
            kernel=int(steps.kernel_launches[which].sum()),
            graph=int(steps.graph_launches[which].sum()),
            memory=int(steps.memory_launches[which].sum()),
            unmeasured_graph=int(steps.unmeasured_graphs[which].sum()),
        )
        walls = steps.wall[which]
        wall, count, median = int(walls.sum()), len(walls), percentile(walls, 50)
        exposed: dict[str, int] | None = None
        device = DeviceTime(active_ns=None, kernel_sum_ns=None, idle_ns=None, busy_share=None)
        entries = self._totals.entries
        phases = [(int(entries.label[k]), int(entries.thread[k])) for k in part.members]
        why = next((self._lost.reasons[phase] for phase in phases if phase in self._lost.reasons), None)
        if not launches.unmeasured_graph and why is None:
            exposed = _by_state(steps.exposed[which])
            idle = sum(exposed.values())
            device = DeviceTime(
                active_ns=part.active_ns,
                kernel_sum_ns=int(steps.kernel_sum[which].sum()),
                idle_ns=idle,
                busy_share=1 - idle / wall if wall else None,
            )
        strata = part.strata
        sums = PhaseSums(
            states_ns=states,
            launches=launches,
            device=device,
            over_base_ns=part.over_base_ns,
            sampled=_sampled_sums(strata) if strata else None,
            lost=why,
            unmarked=tuple(sorted({name for k in part.members for name in self._totals.unmarked_libraries(k)})),
        )
        layers = split(sums, part.evidence, self._t_sys.ns)
        figures_ns = {
            "wall": wall,
            "delta_ft": layers.delta_ft_ns,
            "delta_ct": layers.delta_ct_ns,
            "delta_kt": layers.delta_kt_ns,
            "t_orchestration": layers.t_orchestration_ns,
            "t_device_active": layers.t_device_active_ns,
        }
        kernels = int(steps.kernels[which].sum()) if why is None else None
        whole_graphs = int(steps.whole_graphs[which].sum())
        counted = None if whole_graphs else kernels
        samples = sample_figures(strata, part.evidence, wall, self._outside_modules(part)) if strata else None
        correction = None
        if self._reference_ns and median and why is None:
            reference = Reference(self._reference_ns, count)
            # Only --t-sys is measured without the profiler; a null report is itself a capture.
            given = self._t_sys.source == "given"
            waits = steps.states[which][:, [STATES.index(state) for state in WAITS]]
            correction = corrected(sums, layers, strata, reference, median, waits=waits, scale_t_sys=not given)
        cycles = bool(instances.cycle[which].any())
        return Phase(
            phase=self._label,
            process=None if part.thread is None else pid(part.thread),
            thread=None if part.thread is None else tid(part.thread),
            instances=count,
            wall_ns=wall,
            wall_median_ns=median,
            wall_p99_ns=percentile(walls, 99) if count >= P99_FROM else None,
            cycles=cycles,
            range_ns=int(steps.mark[which].sum()),
            between_ns=_by_state((steps.states - steps.marked)[which]) if cycles else None,
            helpers_ns=_by_state(steps.helpers[which]) if steps.helpers[which].any() else None,
            communication=communication_time(steps, which),
            ranks=part.ranks,
            launches=launches,
            graphs=self._graphs(which, launches, whole_graphs) if launches.graph else None,
            kernels=kernels,
            states_ns=states,
            in_os_ns=_by_state(steps.in_os[which]),
            exposed_ns=exposed,
            device=device,
            taxbreak=layers,
            samples=samples,
            corrected=correction,
            phase_source=main_source(instances, which),
            steps=step_counts(instances, which, figures_ns, counted, launches.kernel + launches.graph),
            unmeasured_instances=sum(self._lost.counts.get(phase, 0) for phase in phases),
        )

    def _graphs(self, which: Flags, launches: LaunchCounts, whole: int) -> GraphTime:
        """Return the CUDA graphs of the flagged instances."""
        steps = self._totals.steps
        padding, reason = graph_padding(self._totals, which, has_nodes=whole < launches.graph)
        return GraphTime(
            launches=launches.graph,
            launch_ns=int(steps.graph_call[which].sum()),
            device_ns=None if launches.unmeasured_graph else int(steps.graph_device[which].sum()),
            whole=whole,
            padding=padding,
            padding_reason=reason,
        )


def _sampled_sums(strata: Split) -> SampledSums:
    """Return the layers and intervals that the samples of a part give."""
    delta_ft, delta_ct = sampled_layers(strata)
    return SampledSums(
        delta_ft_ns=delta_ft,
        delta_ct_ns=delta_ct,
        interval_ns=library_interval(strata),
        outside_ns=library_outside_ranges(strata),
        outside_interval_ns=library_interval(strata, FRAMEWORK_STATES),
        profiler_ns=profiler_in_layers(strata),
    )


def _by_state(rows: Ints) -> dict[str, int]:
    """Return {state: ns}, the sums of the columns of an (instances, states) array."""
    return dict(zip(STATES, rows.sum(axis=0).tolist(), strict=True))
