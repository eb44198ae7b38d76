"""A piece of a report prepared for the tables of ranges, gaps, kernel classes, fusion and calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.host_cells import ExposedParts, HostCells, RangeNesting
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.model.name_rules import GIL_HELD
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.range_tree import RangeTree
from taxbreak_nsys.totals.warning_facts import Piece

CALL_STATES = (STATE["launch"], STATE["memop"])
"""The states whose time belongs to one launch."""


@dataclass(frozen=True)
class ExposedPiece:
    """A piece, its host time cut at ranges and launches (cells), and the exposed stretches of the cells.

    `node` is the path (a node of the tree) of each range, `cell_node` the path of each cell; `cell_entry` and
    `launch_entry` are the phase entries of cells and launches (-1: none).
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
        """Return a piece with its host time cut; `ranges` and `launches` say whether to cut at these."""
        piece = _without_held_gil(piece)
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
            cell_node=range_nodes(node, cells.range),
            cell_entry=entries.of_held(cells.instance, piece.index),
            launch_entry=launch_entry,
        )


def _without_held_gil(piece: Piece) -> Piece:
    """Return a piece without the ranges in which the thread holds the GIL; the piece itself if it has none.

    A thread holds the GIL whenever it runs Python, across the ends of the program's own ranges, so such ranges would
    lie around some of these and inside others. Waits for the GIL lie inside one range, and stay.
    """
    trace = piece.columns.trace
    names = trace.ranges.names
    if GIL_HELD not in names:
        return piece
    kept = np.flatnonzero(trace.ranges.name != names.index(GIL_HELD))
    return replace(piece, columns=replace(piece.columns, trace=replace(trace, ranges=trace.ranges.take(kept))))


def range_nodes(node: Ints, range_index: Ints) -> Ints:
    """Return the tree node for each range index; 0 (no range) for -1."""
    if not len(node):
        return range_index * 0
    nodes: Ints = node[range_index]
    nodes[range_index < 0] = 0
    return nodes
