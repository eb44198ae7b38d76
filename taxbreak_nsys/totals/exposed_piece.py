"""A piece of a report with what the tables of ranges, gaps and kernel classes have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.host_cells import ExposedParts, HostCells, RangeNesting
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.range_tree import RangeTree
from taxbreak_nsys.totals.warning_facts import Piece

CALL_STATES = (STATE["launch"], STATE["memop"])
"""The states whose time belongs to one launch."""


@dataclass(frozen=True)
class ExposedPiece:
    """A piece, its host time cut by range and launch, and the exposed stretches of that.

    `node` is the path (a node of the tree) of each range, `cell_node` the path in which each cell lies; `cell_entry`
    and `launch_entry` are the phase entries of cells and launches (-1: none).
    """

    piece: Piece
    nesting: RangeNesting | None
    cells: HostCells
    exposed: ExposedParts
    node: Ints
    cell_node: Ints
    cell_entry: Ints
    launch_entry: Ints

    @classmethod
    def of(
        cls, piece: Piece, entries: PhaseThreads, tree: RangeTree, launch_entry: Ints, *, ranges: bool, launches: bool
    ) -> ExposedPiece:
        """Cut the host time of a piece, at `ranges` and at `launches` where these are needed."""
        columns = piece.columns
        nesting = RangeNesting.of(columns.trace.ranges) if ranges else None
        cells = HostCells.of(columns, nesting, CALL_STATES if launches else ())
        node = tree.numbered(columns.trace.ranges, nesting) if nesting is not None else np.empty(0, np.int64)
        return cls(
            piece=piece,
            nesting=nesting,
            cells=cells,
            exposed=ExposedParts.of(columns, cells),
            node=node,
            cell_node=node_of(node, cells.range),
            cell_entry=entries.of_held(cells.instance, piece.index),
            launch_entry=launch_entry,
        )


def node_of(node: Ints, range_index: Ints) -> Ints:
    """Return the node of each range index, 0 (no range) for -1."""
    if not len(node):
        return range_index * 0
    nodes: Ints = node[range_index]
    nodes[range_index < 0] = 0
    return nodes
