"""All sums over a report: pieces are added, and what a result is made of comes out."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.columns import Steps
from taxbreak_nsys.entries import Entries
from taxbreak_nsys.groups import Spread
from taxbreak_nsys.intervals import Ints
from taxbreak_nsys.launches import launch_latency
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.replay.savings import SampleWindows
from taxbreak_nsys.self_time import host_time_before
from taxbreak_nsys.tally.calls import CallTally
from taxbreak_nsys.tally.device import DeviceTally
from taxbreak_nsys.tally.facts import FactsTally, Piece
from taxbreak_nsys.tally.kernels import KernelTally
from taxbreak_nsys.tally.operators import OperatorTally
from taxbreak_nsys.tally.samples import SampleTally
from taxbreak_nsys.tally.steps import StepsTally


class Tally:
    """The sums of one report over its phase instances, by subject.

    `latency` holds the launch latencies on idle streams (group 0), ns. `library_processes` are those with library
    ranges.
    """

    def __init__(self, instances: Instances) -> None:
        """Begin with nothing; `instances` are those of the whole report."""
        self.instances = instances
        self.entries = Entries.of(instances)
        self._steps = StepsTally(len(instances))
        self.device = DeviceTally(self.entries)
        self.kernels = KernelTally(self.entries)
        self.operators = OperatorTally(self.entries)
        self.calls = CallTally(self.entries)
        self.samples = SampleTally(self.entries)
        self.facts = FactsTally(self.entries)
        self.windows = SampleWindows(self.entries)
        self.latency = Spread()
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
        self.device.add(trace.ops, op_entry, piece.settled)
        self.kernels.add(columns, op_entry, launch_entry, framework, library)
        self.operators.add(columns, operator_instance, entry(operator_instance), launch_entry, framework)
        self.calls.add(columns, call_entry)
        if columns.sampled is not None:
            self.samples.add(columns.sampled, index)
        self.facts.add(piece, launch_entry)
        self.windows.add(columns, index, piece.own_ops)

        latency = launch_latency(launches, piece.own & launches.idle_stream)
        self.latency.add(np.zeros(len(latency), np.int64), latency)
        self.names = {"api": trace.api.names, "ops": trace.ops.names, "ranges": trace.ranges.names}
        self.libraries = trace.libraries
        self.library_processes |= trace.library_processes

    @property
    def steps(self) -> Steps:
        """The figures of each instance."""
        return self._steps.steps
