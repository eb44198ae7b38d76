"""The columns behind a result, for outputs that draw or list single intervals, launches and instances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.grouped import group_sums
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.measure.communication import Communication
from taxbreak_nsys.measure.device_time import active_ns, ops_instance, unmeasured
from taxbreak_nsys.measure.graph_slots import graph_slots
from taxbreak_nsys.measure.host_states import HostIntervals
from taxbreak_nsys.measure.library_launches import Mediation, Operators
from taxbreak_nsys.measure.sample_hits import Sampled
from taxbreak_nsys.model.launches import (
    GRAPH_LAUNCH,
    KERNEL_LAUNCH,
    LAUNCH_KINDS,
    MEMORY_LAUNCH,
    UNMEASURED_GRAPH,
    Launches,
)
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
    communication: Communication
    helpers: Ints
    """Host states of the helper threads of each instance, (instances, states) in ns."""
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
    def launched_by_host(self) -> Flags:
        """Flags the launches that lie in an instance and are made by its host thread."""
        if not len(self.instances):
            return np.zeros(len(self.launches), bool)
        return (self.launch_instance >= 0) & (self.launches.thread == self.instances.thread[self.launch_instance])

    @cached_property
    def op_instance(self) -> Ints:
        """For each device operation the instance of its launch, -1 for none."""
        return ops_instance(self.launches, self.launch_instance)

    @cached_property
    def active(self) -> Ints:
        """T_DeviceActive of each instance, ns."""
        return active_ns(self.trace.ops, self.communication.wait, self.op_instance, len(self.instances))

    @cached_property
    def steps(self) -> InstanceSums:
        """The sums of each instance."""
        return InstanceSums.of(self)


@dataclass(frozen=True)
class InstanceSums:
    """Sums of each phase instance; rows as in `Instances`.

    `wall` and `active` (T_DeviceActive) are in ns; `states`, `exposed` and `in_os` are (instances, states) in ns; the
    launches are counted by kind. `mark` is the length of the marks, `marked` the part of `states` inside the marks,
    `helpers` the states of the helper threads. `comm` is the time of collectives, `comm_wait` the part of it that waits
    for a slower rank; `comm_unpaired` flags the instances where the wait is not known, `comm_alone` the ones for which
    the report has no other rank. `kernel_sum` is the plain sum of kernels and graphs, `past_end` the time that devices
    work on an instance after its end, `graph_call` the time of the calls that launch CUDA graphs, `graph_device` the
    plain sum of the device time of these graphs, `whole_graphs` the number of graph launches without rows of their
    kernels (traced as a whole, or not measured). `fewest_slots` and `most_slots` are the token slots of the smallest
    and the largest graph whose kernels show them, 0 without one. `unmeasured` flags instances with a graph launch whose
    device time is unknown.
    """

    wall: Ints
    mark: Ints
    states: Ints
    marked: Ints
    exposed: Ints
    in_os: Ints
    helpers: Ints
    comm: Ints
    comm_wait: Ints
    comm_unpaired: Flags
    comm_alone: Flags
    kernel_sum: Ints
    past_end: Ints
    graph_call: Ints
    graph_device: Ints
    whole_graphs: Ints
    fewest_slots: Ints
    most_slots: Ints
    kernel_launches: Ints
    graph_launches: Ints
    memory_launches: Ints
    unmeasured_graphs: Ints
    kernels: Ints
    active: Ints
    unmeasured: Flags

    @classmethod
    def of(cls, columns: Measured) -> InstanceSums:
        """Return the columns summed by instance."""
        instances, intervals, launches = columns.instances, columns.intervals, columns.launches
        count = len(instances)
        in_phase = columns.launch_instance >= 0

        cell = len(LAUNCH_KINDS) * columns.launch_instance[in_phase] + launches.kind[in_phase]
        by_kind = np.bincount(cell, minlength=len(LAUNCH_KINDS) * count).reshape(count, len(LAUNCH_KINDS))

        ops = columns.trace.ops
        kernel = (ops.kind == KERNEL) & (columns.op_instance >= 0)
        graphs = in_phase & ((launches.kind == GRAPH_LAUNCH) | (launches.kind == UNMEASURED_GRAPH))
        graph_instance = columns.launch_instance[graphs]
        # a graph of copies alone has rows too, but no device time of kernels
        whole = (launches.kernels == 0) & ((launches.kind == UNMEASURED_GRAPH) | (launches.device_ns > 0))
        runs_there = ops.computes & (columns.op_instance >= 0)
        talks = columns.communication.communicates & (columns.op_instance >= 0)
        mark_end = instances.mark_end[intervals.instance]
        fewest_slots, most_slots = graph_slots(ops, columns.op_instance, count)
        states = marked = intervals.by_instance(intervals.duration, count)
        if np.any(intervals.end > mark_end):
            inside = np.maximum(np.minimum(intervals.end, mark_end) - intervals.start, 0)
            marked = intervals.by_instance(inside, count)
        return cls(
            wall=instances.wall,
            mark=instances.mark_end - instances.start,
            states=states,
            marked=marked,
            exposed=intervals.by_instance(intervals.exposed, count),
            in_os=intervals.by_instance(intervals.in_os, count),
            helpers=columns.helpers,
            comm=group_sums(columns.op_instance[talks], (ops.end - ops.start)[talks], count),
            comm_wait=group_sums(columns.op_instance[talks], columns.communication.wait[talks], count),
            comm_unpaired=columns.communication.unpaired,
            comm_alone=columns.communication.alone,
            kernel_sum=group_sums(columns.op_instance[runs_there], (ops.end - ops.start)[runs_there], count),
            past_end=_past_end(columns),
            graph_call=group_sums(graph_instance, (launches.end - launches.start)[graphs], count),
            graph_device=group_sums(graph_instance, launches.device_ns[graphs], count),
            whole_graphs=np.bincount(columns.launch_instance[graphs & whole], minlength=count).astype(np.int64),
            fewest_slots=fewest_slots,
            most_slots=most_slots,
            kernel_launches=by_kind[:, KERNEL_LAUNCH],
            graph_launches=by_kind[:, GRAPH_LAUNCH] + by_kind[:, UNMEASURED_GRAPH],
            memory_launches=by_kind[:, MEMORY_LAUNCH],
            unmeasured_graphs=by_kind[:, UNMEASURED_GRAPH],
            kernels=np.bincount(columns.op_instance[kernel], minlength=count).astype(np.int64),
            active=columns.active,
            unmeasured=unmeasured(launches, columns.launch_instance, count),
        )


def _past_end(columns: Measured) -> Ints:
    """Return the time that devices work on each instance after its end, ns."""
    ops, count = columns.trace.ops, len(columns.instances)
    late = np.where(columns.op_instance >= 0, columns.instances.end[columns.op_instance], 0) if count else ops.end
    group = np.where((columns.op_instance >= 0) & (ops.end > late), columns.op_instance, -1)
    # only the part of an operation after the end counts
    skipped = np.maximum(late - ops.start, columns.communication.wait)
    return active_ns(ops, np.where(group >= 0, np.maximum(skipped, 0), 0), group, count)
