"""Grid sizes of kernels and directions of copies: step detection needs them where a report has no NVTX ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.trace_columns import COPY, KERNEL, DeviceOps
from taxbreak_nsys.read.database import Database


@dataclass(frozen=True)
class OpShapes:
    """Columns parallel to `DeviceOps`: thread blocks of a kernel (0: unknown), whether a copy goes to the host."""

    blocks: Ints
    to_host: Flags


def read_op_shapes(database: Database, ops: DeviceOps) -> OpShapes:
    """Read the shapes of a report's operations, in the order of `ops`."""
    table = database.query("op_shapes")
    kind, start, end, process, blocks, to_host = (numbers(table[name]) for name in table.column_names)
    shapes = OpShapes(np.zeros(len(ops), np.int64), np.zeros(len(ops), bool))
    for op_kind in (KERNEL, COPY):
        ours, theirs = np.flatnonzero(ops.kind == op_kind), np.flatnonzero(kind == op_kind)
        if len(ours) != len(theirs):
            continue
        # DeviceOps keeps no row ids, so rows are matched by (process, start, end).
        ours = ours[np.lexsort((ops.end[ours], ops.start[ours], ops.process[ours]))]
        theirs = theirs[np.lexsort((end[theirs], start[theirs], process[theirs]))]
        shapes.blocks[ours] = blocks[theirs]
        shapes.to_host[ours] = to_host[theirs] != 0
    return shapes
