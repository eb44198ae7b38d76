"""Numbers of phase instances, counted from 0 within each phase of a thread."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.model.trace_columns import runs
from taxbreak_nsys.phases import Instances


def step_numbers(instances: Instances) -> Ints:
    """Return the number of each instance within its label and thread, from 0 in the order of start."""
    number = np.zeros(len(instances), np.int64)
    order = np.lexsort((instances.start, instances.label, instances.thread))
    _, entry = np.unique(np.stack([instances.thread[order], instances.label[order]]), axis=1, return_inverse=True)
    for low, high in runs(np.asarray(entry, np.int64).reshape(-1)):
        number[order[low:high]] = np.arange(high - low)
    return number
