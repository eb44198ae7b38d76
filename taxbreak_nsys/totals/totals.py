"""All sums over a report: pieces of it are added, the result is computed from the sums."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.graph_slots import shows_slots
from taxbreak_nsys.measure.library_launches import marking_libraries
from taxbreak_nsys.measure.measured import InstanceSums, Measured
from taxbreak_nsys.measure.self_time import host_time_before
from taxbreak_nsys.model.assumptions import Assumptions
from taxbreak_nsys.model.launches import launch_latency
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.call_totals import CallTotals
from taxbreak_nsys.totals.detail_totals import DetailTotals
from taxbreak_nsys.totals.device_totals import DeviceTotals
from taxbreak_nsys.totals.kernel_totals import KernelTotals
from taxbreak_nsys.totals.lost_rows import CudaSpans, InstanceCounts, LostRows, find_lost_rows
from taxbreak_nsys.totals.operator_totals import OperatorTotals
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.step_totals import StepTotals
from taxbreak_nsys.totals.warning_facts import Piece, WarningFacts


class Totals:
    """The sums of one report over its phase instances, by subject.

    `latency` holds the launch latencies on idle streams (group 0), ns. `library_processes` are the processes with
    library ranges.
    """

    def __init__(self, instances: Instances, assumptions: Assumptions, options: Options) -> None:
        """`instances` are the instances of the whole report; `options` choose the detail tables."""
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
        """Time from the arrival of a collective on the first rank to the last, ns, by (rank group, label)."""
        self.collectives: set[str] = set()
        """Names of the kernels that communicate in phases."""
        self.slot_kernels: set[str] = set()
        """Names of the kernels that show the token slots of CUDA graphs in phases."""
        self.names: dict[str, tuple[str, ...]] = {}
        self.libraries: frozenset[str] = frozenset()
        self.library_processes: set[int] = set()
        self._marking: dict[int, set[str]] = {}
        self._kernel_libraries: dict[int, set[str]] | None = None
        self._spans = CudaSpans()
        self._api_calls = np.zeros(len(instances), np.int64)

    def add(self, piece: Piece) -> None:
        """Add a piece of the report; pieces come in the order of time."""
        columns, index = piece.columns, piece.index
        trace, launches = columns.trace, columns.launches
        self._kernel_libraries = None

        def entry(instance: Ints) -> Ints:
            return self.entries.of_held(instance, index)

        launch_entry, op_entry = entry(columns.launch_instance), entry(columns.op_instance)
        framework, library = host_time_before(columns)
        operators = columns.operators
        operator_instance = columns.instances.at(operators.thread, operators.start)
        call_instance = columns.instances.at(trace.api.thread, trace.api.start)
        call_entry = entry(call_instance)

        self._steps.add(index, columns.steps)
        self._spans.add(trace)
        self._api_calls[index] = np.bincount(call_instance[call_instance >= 0], minlength=len(index))
        self.device.add(trace.ops, columns.communication.wait, op_entry, piece.settled)
        self._add_skew(columns, index)
        self._add_slot_kernels(columns)
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
        for process, libraries in marking_libraries(trace).items():
            self._marking.setdefault(process, set()).update(libraries)

    @property
    def marking_libraries(self) -> frozenset[str]:
        """The libraries that marked ranges in any process, spelt as in their domains or range texts."""
        return self.libraries.union(*self._marking.values())

    def unmarked_libraries(self, entry: int) -> tuple[str, ...]:
        """Return the libraries that launched kernels of an entry and marked no range in its process, sorted.

        Kernels of a graph do not count: replaying a graph calls no library.
        """
        process = int(self.entries.thread[entry]) & PROCESS_MASK
        if self._kernel_libraries is None:
            self._kernel_libraries = self.kernels.libraries(self.names["ops"])
        return tuple(sorted(self._kernel_libraries.get(entry, set()) - self._marking.get(process, set())))

    def lost_rows(self) -> LostRows:
        """Return the instances that lost CUDA rows; call this after the last piece."""
        steps = self.steps
        launches = steps.kernel_launches + steps.graph_launches + steps.memory_launches
        counts = InstanceCounts(
            launches=launches,
            calls=self._api_calls,
            lone=self.facts.lone_by_instance,
            driver_samples=self.samples.driver_outside_calls,
        )
        return find_lost_rows(self.instances, counts, self._spans)

    def _add_skew(self, columns: Measured, index: Ints) -> None:
        """Add the arrival skew of the ranks at the collectives of a piece."""
        instance = index[columns.communication.skew_instance]
        paired = self.instances.group[instance] >= 0
        instance = instance[paired]
        key = self.instances.group[instance] * len(self.instances.labels) + self.instances.label[instance]
        self.skew.add(key, columns.communication.skew[paired])
        names, ops = columns.trace.ops.names, columns.communication.communicates & (columns.op_instance >= 0)
        code = np.unique(columns.trace.ops.name[ops])
        self.collectives |= {names[k] for k in code.tolist()}

    def _add_slot_kernels(self, columns: Measured) -> None:
        ops = columns.trace.ops
        code = np.unique(ops.name[shows_slots(ops) & (columns.op_instance >= 0)])
        self.slot_kernels |= {ops.names[k] for k in code.tolist()}

    @property
    def steps(self) -> InstanceSums:
        """The sums of each instance."""
        return self._steps.steps
