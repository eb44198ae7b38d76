"""All sums over a report: pieces are added, and what a result is made of comes out."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.measured import InstanceSums, Measured
from taxbreak_nsys.measure.self_time import host_time_before
from taxbreak_nsys.model.assumptions import Assumptions
from taxbreak_nsys.model.launches import launch_latency
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.call_totals import CallTotals
from taxbreak_nsys.totals.detail_totals import DetailTotals
from taxbreak_nsys.totals.device_totals import DeviceTotals
from taxbreak_nsys.totals.kernel_totals import KernelTotals
from taxbreak_nsys.totals.operator_totals import OperatorTotals
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.step_totals import StepTotals
from taxbreak_nsys.totals.warning_facts import Piece, WarningFacts


class Totals:
    """The sums of one report over its phase instances, by subject.

    `latency` holds the launch latencies on idle streams (group 0), ns. `library_processes` are those with library
    ranges.
    """

    def __init__(self, instances: Instances, assumptions: Assumptions, options: Options) -> None:
        """Start with empty sums; `instances` are those of the whole report, `options` choose details."""
        self.instances = instances
        self.entries = PhaseThreads.of(instances)
        self._steps = StepTotals(len(instances))
        self.device = DeviceTotals(self.entries, assumptions)
        self.kernels = KernelTotals(self.entries)
        self.operators = OperatorTotals(self.entries)
        self.calls = CallTotals(self.entries)
        self.samples = SampleTotals(self.entries)
        self.facts = WarningFacts(self.entries)
        self.details = DetailTotals(self.entries, options)
        self.latency = ValueCounts()
        self.skew = ValueCounts()
        """Arrival of collectives on the last rank less that on the first, ns, by (rank group, label)."""
        self.collectives: set[str] = set()
        """Names of the kernels that communicate in phases."""
        self.names: dict[str, tuple[str, ...]] = {}
        self.libraries: frozenset[str] = frozenset()
        self.library_processes: set[int] = set()

    def add(self, piece: Piece) -> None:
        """Add a piece of the report; pieces come in the order of time."""
        columns, index = piece.columns, piece.index
        trace, launches = columns.trace, columns.launches

        def entry(instance: Ints) -> Ints:
            return self.entries.of_held(instance, index)

        launch_entry, op_entry = entry(columns.launch_instance), entry(columns.op_instance)
        framework, library = host_time_before(columns)
        operators = columns.operators
        operator_instance = columns.instances.at(operators.thread, operators.start)
        call_entry = entry(columns.instances.at(trace.api.thread, trace.api.start))

        self._steps.add(index, columns.steps)
        self.device.add(trace.ops, columns.communication.wait, op_entry, piece.settled)
        self._add_skew(columns, index)
        self.kernels.add(columns, op_entry, launch_entry, framework, library)
        self.operators.add(columns, operator_instance, entry(operator_instance), launch_entry, framework)
        self.calls.add(columns, call_entry)
        if columns.sampled is not None:
            self.samples.add(columns.sampled, index)
        self.facts.add(piece, launch_entry)
        self.details.add(piece, launch_entry)

        latency = launch_latency(launches, piece.own & launches.idle_stream)
        self.latency.add(np.zeros(len(latency), np.int64), latency)
        self.names = {"api": trace.api.names, "ops": trace.ops.names, "ranges": trace.ranges.names}
        self.libraries = trace.libraries
        self.library_processes |= trace.library_processes

    def _add_skew(self, columns: Measured, index: Ints) -> None:
        """Add how far apart the ranks arrive at the collectives of a piece."""
        instance = index[columns.communication.skew_instance]
        paired = self.instances.group[instance] >= 0
        instance = instance[paired]
        key = self.instances.group[instance] * len(self.instances.labels) + self.instances.label[instance]
        self.skew.add(key, columns.communication.skew[paired])
        names, ops = columns.trace.ops.names, columns.communication.communicates & (columns.op_instance >= 0)
        code = np.unique(columns.trace.ops.name[ops])
        self.collectives |= {names[k] for k in code.tolist()}

    @property
    def steps(self) -> InstanceSums:
        """The figures of each instance."""
        return self._steps.steps
