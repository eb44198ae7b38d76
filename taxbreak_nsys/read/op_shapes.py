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
        op_rows, shape_rows = np.flatnonzero(ops.kind == op_kind), np.flatnonzero(kind == op_kind)
        if len(op_rows) != len(shape_rows):
            continue
        # DeviceOps keeps no row ids, so rows are matched by (process, start, end).
        op_rows = op_rows[np.lexsort((ops.end[op_rows], ops.start[op_rows], ops.process[op_rows]))]
        shape_rows = shape_rows[np.lexsort((end[shape_rows], start[shape_rows], process[shape_rows]))]
        shapes.blocks[op_rows] = blocks[shape_rows]
        shapes.to_host[op_rows] = to_host[shape_rows] != 0
    return shapes
