"""The slowest rank of each step, which the other ranks wait for (method section 2.3)."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.measure.measured import InstanceSums
from taxbreak_nsys.phases import Instances


def slowest_ranks(instances: Instances, steps: InstanceSums, paired: Flags) -> Flags:
    """Flag in each step the instance of the slowest rank; `paired` flags the instances to choose from.

    The slowest rank is the rank that waits least for the others; on a tie the rank with the longest wall time, then the
    lowest thread id. In a step whose waiting times are not known the wall time alone decides.
    """
    rows = np.flatnonzero(paired)
    step = instances.step[rows]
    unknown = np.isin(step, np.unique(step[steps.comm_unpaired[rows]]))
    wait = np.where(unknown, 0, steps.comm_wait[rows])
    order = np.lexsort((instances.thread[rows], -steps.wall[rows], wait, step))
    first = np.r_[True, np.diff(step[order]) != 0] if len(order) else np.zeros(0, bool)
    slowest = np.zeros(len(instances), bool)
    slowest[rows[order[first]]] = True
    return slowest
