"""Token slots of CUDA graphs: how many tokens an engine captured a graph for, by the grids of its kernels."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.trace_columns import KERNEL, DeviceOps


def shows_slots(ops: DeviceOps) -> Flags:
    """Flag the kernels of CUDA graphs whose grid has one block per token slot."""
    one_per_token = np.array([name_rules.has_block_per_token(name) for name in ops.names], bool)
    if not one_per_token.any():
        return np.zeros(len(ops), bool)
    return one_per_token[ops.name] & (ops.kind == KERNEL) & (ops.node_blocks > 0)


def graph_slots(ops: DeviceOps, op_instance: Ints, instances: int) -> tuple[Ints, Ints]:
    """Return the fewest and the most token slots of the graphs of each instance; 0 where no kernel shows them."""
    which = np.flatnonzero(shows_slots(ops) & (op_instance >= 0))
    most = np.zeros(instances, np.int64)
    np.maximum.at(most, op_instance[which], ops.node_blocks[which])
    fewest = most.copy()
    np.minimum.at(fewest, op_instance[which], ops.node_blocks[which])
    return fewest, most
