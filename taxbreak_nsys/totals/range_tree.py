"""Nested NVTX ranges as a tree of paths that grows piece by piece."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import distinct_values
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.host_cells import RangeNesting
from taxbreak_nsys.model.range_names import range_label
from taxbreak_nsys.model.trace_columns import Ranges
from taxbreak_nsys.totals.label_codes import LabelCodes

NO_RANGE = "(no range)"
"""The name of node 0: time in no range."""
MOST_DEPTH = 64
"""A deeper range counts as the enclosing range at this depth."""
MOST_NODES = 200_000
"""After this number of paths, a new path counts as the path around it."""


@dataclass(frozen=True)
class RangeNode:
    """A path of ranges: its parent (a node number, 0: none), its own name, and how deep it lies (1: outermost)."""

    parent: int
    name: str
    depth: int


class RangeTree:
    """The paths of ranges, numbered in the order of their first appearance; parents come before their children."""

    def __init__(self) -> None:
        self.nodes = [RangeNode(parent=-1, name=NO_RANGE, depth=0)]
        self._known: dict[int, int] = {}
        self._labels = LabelCodes(range_label)

    def numbered(self, ranges: Ranges, nesting: RangeNesting) -> Ints:
        """Return the node of each range."""
        label = self._labels.of_names(ranges.names)[ranges.name] if len(ranges) else np.empty(0, np.int64)
        node = np.zeros(len(ranges), np.int64)
        *levels, deepest = _by_depth(nesting.container)
        for level in levels:
            container = nesting.container[level]
            parent = np.where(container >= 0, node[container], 0)
            key, distinct = distinct_values((parent << 32) | label[level])
            node[level] = np.array([self._node(code) for code in distinct.tolist()], np.int64)[key]
        for index in deepest.tolist():
            # ranges are sorted by start, so a container already has its node
            node[index] = node[nesting.container[index]]
        return node

    def _node(self, key: int) -> int:
        known = self._known.get(key)
        if known is None:
            parent = key >> 32
            depth = self.nodes[parent].depth + 1
            if depth > MOST_DEPTH or len(self.nodes) >= MOST_NODES:
                return parent
            known = self._known[key] = len(self.nodes)
            self.nodes.append(RangeNode(parent=parent, name=self._labels.labels[key & 0xFFFFFFFF], depth=depth))
        return known

    @cached_property
    def paths(self) -> list[str]:
        """The names from the outermost range to each node, joined by `/`; read when the tree is complete."""
        paths = [NO_RANGE]
        for node in self.nodes[1:]:
            paths.append(f"{paths[node.parent]}/{node.name}" if node.parent else node.name)
        return paths

    def with_children(self, own: dict[int, list[int]]) -> dict[int, list[int]]:
        """Return the figures of each node including its descendants, for nodes with figures and their ancestors.

        `own` maps a node to the list of its own figures; all lists have the same length.
        """
        total = {node: list(figures) for node, figures in own.items()}
        waiting = sorted(total, reverse=True)
        seen = set(waiting)
        # children have higher numbers than parents, so in descending order each node is complete when it is popped
        heap = [-node for node in waiting]
        heapq.heapify(heap)
        while heap:
            node = -heapq.heappop(heap)
            parent = self.nodes[node].parent
            if parent <= 0:
                continue
            sums = total.get(parent)
            if sums is None:
                total[parent] = list(total[node])
            else:
                total[parent] = [a + b for a, b in zip(sums, total[node], strict=True)]
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, -parent)
        return total


def _by_depth(container: Ints) -> list[Ints]:
    """Return the indices of ranges by depth, outermost first: MOST_DEPTH arrays, and one with all deeper ranges."""
    depth = np.zeros(len(container), np.int64)
    inside = np.flatnonzero(container >= 0)
    around = container[inside]
    for _ in range(MOST_DEPTH):
        if not len(inside):
            break
        depth[inside] += 1
        around = container[around]
        inside, around = inside[around >= 0], around[around >= 0]
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.searchsorted(depth[order], np.arange(1, MOST_DEPTH + 1)))
