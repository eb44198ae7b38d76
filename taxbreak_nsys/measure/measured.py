"""The columns behind a result: for outputs that draw or list single intervals, launches and instances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.measure.device_time import active_ns, ops_instance, unmeasured
from taxbreak_nsys.measure.host_states import HostIntervals
from taxbreak_nsys.measure.library_launches import Mediation, Operators
from taxbreak_nsys.measure.sample_hits import Sampled
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, KERNEL_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH, Launches
from taxbreak_nsys.model.trace_columns import KERNEL, Trace
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.call_chains import Chains


@dataclass(frozen=True)
class Measured:
    """Everything measured, before it is summed up; read-only by convention."""

    trace: Trace
    launches: Launches
    instances: Instances
    intervals: HostIntervals
    operators: Operators
    mediation: Mediation
    sampled: Sampled | None = None
    """The CPU samples in the phases; None where the report has none."""
    chains: Chains | None = None
    """The call chains of API calls; None where the report has none."""

    @cached_property
    def launch_instance(self) -> Ints:
        """The instance that holds each launch's start, -1 for none."""
        return self.instances.at(self.launches.thread, self.launches.start)

    @cached_property
    def op_instance(self) -> Ints:
        """The instance of each device operation, that of its launch; -1 for none."""
        return ops_instance(self.launches, self.launch_instance)

    @cached_property
    def active(self) -> Ints:
        """T_DeviceActive of each instance, ns."""
        return active_ns(self.trace.ops, self.op_instance >= 0, self.op_instance, len(self.instances))

    @cached_property
    def steps(self) -> InstanceSums:
        """The figures of each instance."""
        return InstanceSums.of(self)


@dataclass(frozen=True)
class InstanceSums:
    """Figures of each phase instance; rows as in `Instances`.

    `wall` and `active` (T_DeviceActive) are in ns; `states`, `exposed` and `in_os` are (instances, states) in ns; the
    launches are counted by kind. `unmeasured` flags instances with a graph launch whose device time is unknown.
    """

    wall: Ints
    states: Ints
    exposed: Ints
    in_os: Ints
    kernel_launches: Ints
    graph_launches: Ints
    memory_launches: Ints
    unmeasured_graphs: Ints
    kernels: Ints
    active: Ints
    unmeasured: Flags

    @classmethod
    def of(cls, columns: Measured) -> InstanceSums:
        """Return the sums over the columns by instance."""
        instances, intervals, launches = columns.instances, columns.intervals, columns.launches
        count = len(instances)
        held = columns.launch_instance >= 0

        def launched(*kinds: int) -> Ints:
            which = held & np.isin(launches.kind, kinds)
            return np.bincount(columns.launch_instance[which], minlength=count).astype(np.int64)

        ops = columns.trace.ops
        kernel = (ops.kind == KERNEL) & (columns.op_instance >= 0)
        return cls(
            wall=instances.wall,
            states=intervals.by_instance(intervals.duration, count),
            exposed=intervals.by_instance(intervals.exposed, count),
            in_os=intervals.by_instance(intervals.in_os, count),
            kernel_launches=launched(KERNEL_LAUNCH),
            graph_launches=launched(GRAPH_LAUNCH, UNMEASURED_GRAPH),
            memory_launches=launched(MEMORY_LAUNCH),
            unmeasured_graphs=launched(UNMEASURED_GRAPH),
            kernels=np.bincount(columns.op_instance[kernel], minlength=count).astype(np.int64),
            active=columns.active,
            unmeasured=unmeasured(launches, columns.launch_instance, count),
        )
