"""When devices were busy, and the exposed part of the host's time (method section 5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import row_codes
from taxbreak_nsys.arrays.intervals import Coverage, Flags, Ints, among, covered_by_group, union
from taxbreak_nsys.measure.host_states import HostIntervals
from taxbreak_nsys.model.launches import UNMEASURED_GRAPH, Launches
from taxbreak_nsys.model.trace_columns import DeviceOps, Trace
from taxbreak_nsys.phases import Instances


def with_exposure(
    intervals: HostIntervals,
    trace: Trace,
    launches: Launches,
    instances: Instances,
    launch_instance: Ints,
    comm_wait: Ints,
) -> HostIntervals:
    """Return the intervals with their exposed time.

    `comm_wait` is for each device operation the time at its start that waits for a slower rank, ns: the device does not
    count as busy then. Time is exposed outside the operations, of any process, on the devices that the instance's
    launches use. An instance whose launches use no device is exposed throughout.
    """
    exposed = np.zeros(len(intervals.start), np.int64)
    sets = device_sets(trace.ops, launches, len(instances), launch_instance)
    for devices in set(sets):
        of_set = among(np.array([s == devices for s in sets], bool)[intervals.instance])
        on = np.isin(trace.ops.device_global, sorted(devices))
        busy = Coverage.of(union(trace.ops.start[on] + comm_wait[on], trace.ops.end[on]))
        start, end = intervals.start[of_set], intervals.end[of_set]
        exposed[of_set] = (end - start) - busy.within(start, end)
    return replace(intervals, exposed=exposed)


def device_sets(ops: DeviceOps, launches: Launches, instances: int, launch_instance: Ints) -> list[frozenset[int]]:
    """Return for each instance the devices that its launches use."""
    sets: list[set[int]] = [set() for _ in range(instances)]
    joined = ops_instance(launches, launch_instance)
    in_phase = joined >= 0
    instance, device = joined[in_phase], ops.device_global[in_phase]
    _, sample = row_codes(instance, device)
    for number, used in zip(instance[sample].tolist(), device[sample].tolist(), strict=True):
        sets[number].add(used)
    return [frozenset(devices) for devices in sets]


def ops_instance(launches: Launches, launch_instance: Ints) -> Ints:
    """Return for each device operation the instance of its launch, -1 for none."""
    of_op = launches.of_op
    return np.where(of_op >= 0, launch_instance[np.maximum(of_op, 0)], -1) if len(launch_instance) else of_op


def active_ns(ops: DeviceOps, comm_wait: Ints, group: Ints, groups: int) -> Ints:
    """Return T_DeviceActive of each group of operations, ns.

    It is the union of kernels and graphs per (process, device), added up, without the waiting for slower ranks
    (`comm_wait`). `group` numbers the group of each operation; operations of a negative group are left out.
    """
    chosen = ops.computes & (group >= 0)
    code, sample = row_codes(group[chosen], ops.process[chosen], ops.device[chosen])
    by_key = covered_by_group(code, (ops.start + comm_wait)[chosen], ops.end[chosen], len(sample))
    result = np.zeros(groups, np.int64)
    np.add.at(result, group[chosen][sample], by_key)
    return result


def unmeasured(launches: Launches, launch_instance: Ints, instances: int) -> Flags:
    """Flag the instances with a graph launch whose device time is unknown."""
    result = np.zeros(instances, bool)
    unknown = (launches.kind == UNMEASURED_GRAPH) & (launch_instance >= 0)
    result[launch_instance[unknown]] = True
    return result
