"""Collectives between devices: the kernels that communicate, and the time that each rank waits for a slower rank.

Method section 2.3. A collective ends on all ranks at the same time. The time that a rank spends in it beyond the rank
with the shortest kernel is waiting for a rank that arrived later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import row_codes
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.kernel_classes import COMMUNICATION, KernelClass, classify
from taxbreak_nsys.model.trace_columns import KERNEL, DeviceOps
from taxbreak_nsys.phases.instances import Instances

LEAST_RANKS_OF_TWO_GROUPS = 4
"""Fewer ranks are one communicator; from this number on half of them may form their own (replicas of a model)."""


@dataclass(frozen=True)
class Communication:
    """Collectives of a report; the columns are over its device operations.

    `communicates` flags the kernels of collective libraries. `wait` is the part at an operation's start that waits for
    a slower rank, ns; 0 where the collective is not paired. `unpaired` flags the instances with a collective in which
    no other rank of the report takes part, `alone` the unpaired instances for which the report has no other rank.
    `skew` is for each paired collective the time from its arrival on the first rank to its arrival on the last, ns, and
    `skew_instance` an instance that it belongs to.
    """

    communicates: Flags
    wait: Ints
    unpaired: Flags
    alone: Flags
    skew: Ints
    skew_instance: Ints


def find_communication(
    ops: DeviceOps, op_instance: Ints, instances: Instances, classes: Sequence[KernelClass]
) -> Communication:
    """Return the collectives in the phase instances, and the time that each waits for a slower rank.

    The k-th collective of a name in a step is the same collective on all ranks. The ranks of a step are the devices of
    the instances that `Instances.step` pairs; an instance without a pair is a step by itself, with its own devices.
    """
    of_name = np.array([kind == COMMUNICATION for kind in classify(ops.names, classes)] or [False], bool)
    communicates = (ops.kind == KERNEL) & of_name[ops.name]
    wait = np.zeros(len(ops), np.int64)
    unpaired, alone = np.zeros(len(instances), bool), np.zeros(len(instances), bool)
    empty = np.empty(0, np.int64)
    rows = np.flatnonzero(communicates & (op_instance >= 0))
    if not len(rows):
        return Communication(
            communicates=communicates, wait=wait, unpaired=unpaired, alone=alone, skew=empty, skew_instance=empty
        )
    instance = op_instance[rows]
    paired_step = instances.step[instance]
    # negative numbers: instances without a pair are steps by themselves
    step = np.where(paired_step >= 0, paired_step, -1 - instance)
    rank, _ = row_codes(instance, ops.device[rows])
    ranks = _count_per_step(step, rank)
    missing = _count_per_step(step, instance) < _group_sizes(instances)[instance]
    name, start, end = ops.name[rows], ops.start[rows], ops.end[rows]
    turn = np.empty(len(rows), np.int64)
    order = np.lexsort((start, rank, name, step))
    turn[order] = _turns(step[order], name[order], rank[order])
    order = np.lexsort((start, turn, name, step))
    new = _first_of_collective(step[order], name[order], turn[order], start[order], end[order])
    collective = np.empty(len(rows), np.int64)
    collective[order] = np.cumsum(new) - 1
    begin = np.flatnonzero(new)
    shortest = np.minimum.reduceat((end - start)[order], begin)
    members = np.bincount(collective)[collective]
    few = ranks < LEAST_RANKS_OF_TWO_GROUPS
    lonely = (members == 1) | (few & ((members < ranks) | (missing & (paired_step >= 0))))
    alone[instance[lonely & (ranks == 1)]] = True
    # one collective without a partner shifts the count of all later ones, so no wait of its step is trusted
    doubtful = np.isin(step, np.unique(step[lonely]))
    unpaired[instance[doubtful]] = True
    wait[rows[~doubtful]] = (end - start - shortest[collective])[~doubtful]
    paired = np.flatnonzero(~doubtful[order][begin])
    arrival = start[order][begin]
    last_arrival = np.maximum.reduceat(start[order], begin)
    return Communication(
        communicates=communicates,
        wait=wait,
        unpaired=unpaired,
        alone=alone,
        skew=(last_arrival - arrival)[paired],
        skew_instance=instance[order][begin][paired],
    )


def split_devices(ops: DeviceOps, op_instance: Ints, instances: Instances, communication: Communication) -> DeviceOps:
    """Return the operations with one device per process where ranks with paired collectives seem to share a device.

    With CUDA_VISIBLE_DEVICES each process numbers its devices from 0, and the report may not identify the physical
    device. Ranks of one collective are always on different devices.
    """
    in_phase = op_instance >= 0
    talks = np.flatnonzero(communication.communicates & in_phase)
    talks = talks[~communication.unpaired[op_instance[talks]] & (instances.step[op_instance[talks]] >= 0)]
    if not len(talks):
        return ops
    _, sample = row_codes(instances.group[op_instance[talks]], ops.device_global[talks], ops.process[talks])
    sampled = talks[sample]
    group, device = instances.group[op_instance[sampled]], ops.device_global[sampled]
    shared = {int(device[k]) for k in range(len(sampled)) if np.sum((group == group[k]) & (device == device[k])) > 1}
    if not shared:
        return ops
    which = np.isin(ops.device_global, sorted(shared))
    processes, code = np.unique(ops.process, return_inverse=True)
    apart = int(ops.device_global.max()) + 1 + ops.device_global * len(processes) + code
    return replace(ops, device_global=np.where(which, apart, ops.device_global))


def _turns(step: Ints, name: Ints, rank: Ints) -> Ints:
    """Return for each collective, sorted by (step, name, rank), the number of earlier ones with the same three."""
    new = np.r_[True, (step[1:] != step[:-1]) | (name[1:] != name[:-1]) | (rank[1:] != rank[:-1])]
    begin = np.flatnonzero(new)
    return np.arange(len(step)) - begin[np.cumsum(new) - 1]


def _first_of_collective(step: Ints, name: Ints, turn: Ints, start: Ints, end: Ints) -> Flags:
    """Flag the first kernel of each collective, of kernels sorted by (step, name, turn, start).

    The kernels of one collective overlap in time. Kernels with the same turn that do not overlap belong to another
    communicator.
    """
    new = np.r_[True, (step[1:] != step[:-1]) | (name[1:] != name[:-1]) | (turn[1:] != turn[:-1])]
    reach = end.copy()
    for low, high in zip(np.flatnonzero(new).tolist(), [*np.flatnonzero(new)[1:].tolist(), len(end)], strict=True):
        if high - low > 1:
            reach[low:high] = np.maximum.accumulate(end[low:high])
    apart = start[1:] > reach[:-1]
    # fewer ranks have one communicator: their collectives are one even if clocks make the kernels look apart
    several = np.bincount(np.cumsum(new) - 1)[np.cumsum(new) - 1] >= LEAST_RANKS_OF_TWO_GROUPS
    new[1:] |= apart & several[1:]
    return new


def _group_sizes(instances: Instances) -> Ints:
    """Return for each instance the number of ranks of its group; 1 without a group."""
    sizes = np.array([len(group.threads) for group in instances.groups] + [1], np.int64)
    return sizes[instances.group]


def _count_per_step(step: Ints, member: Ints) -> Ints:
    """Return for each collective the number of distinct members in its step."""
    _, sample = row_codes(step, member)
    _, code = np.unique(step, return_inverse=True)
    counts = np.bincount(code[sample], minlength=int(code.max()) + 1)
    return counts[code]
