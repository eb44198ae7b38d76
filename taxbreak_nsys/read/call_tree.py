"""The call chains of CPU samples as one tree, from the outermost caller down to the frames that were sampled."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import distinct_values
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.read.stack_frames import Stacks

MOST_NODES = 500_000
"""When the tree is full, a stack with new frames ends at its deepest known node."""


class CallTree:
    """Distinct stacks as tree nodes, numbered in order of appearance; a parent has a lower number than its callees.

    Node 0 is the root and stands for no frame. `parent` and `frame` (module id * 2^32 + symbol id) describe the nodes.
    """

    def __init__(self) -> None:
        self.parent, self.frame = [-1], [0]
        self._known: dict[tuple[int, int], int] = {}

    def numbered(self, stacks: Stacks) -> Ints:
        """Add the stacks to the tree and return the leaf node of each chain (0 for a chain without frames)."""
        node = np.zeros(len(stacks.chain), np.int64)
        if not len(stacks.row):
            return node
        length = np.bincount(stacks.row, minlength=len(node))
        place = np.arange(len(stacks.row)) - (np.cumsum(length) - length)[stacks.row]
        from_root = length[stacks.row] - 1 - place
        code, frames = distinct_values(stacks.frame)
        order = np.argsort(from_root, kind="stable")
        levels = np.split(order, np.flatnonzero(np.diff(from_root[order])) + 1)
        ended = np.zeros(len(node), bool)
        for whole_level in levels:
            level = whole_level[~ended[stacks.row[whole_level]]]
            row = stacks.row[level]
            key, distinct = distinct_values(node[row] * len(frames) + code[level])
            children = [self._node(pair // len(frames), int(frames[pair % len(frames)])) for pair in distinct.tolist()]
            child = np.array([-1 if number is None else number for number in children], np.int64)[key]
            ended[row] = child < 0
            node[row] = np.where(child < 0, node[row], child)
        return node

    def _node(self, parent: int, frame: int) -> int | None:
        """Return the number of a frame below `parent`; None for a new frame when the tree is full."""
        known = self._known.get((parent, frame))
        if known is None:
            if len(self.parent) >= MOST_NODES:
                return None
            known = self._known[parent, frame] = len(self.parent)
            self.parent.append(parent)
            self.frame.append(frame)
        return known
