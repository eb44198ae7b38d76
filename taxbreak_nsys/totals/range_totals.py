"""Host and device sums by nested NVTX range: for each path its own figures and the total with nested ranges."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.model.launches import MEMORY_LAUNCH
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import runs, thread_slice
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.exposed_piece import ExposedPiece, range_nodes
from taxbreak_nsys.totals.listing_rows import Row, head
from taxbreak_nsys.totals.range_tree import RangeTree

_WORK = ("launches", "memory_launches", "kernels", "device")
_FIGURES = ("exposed", "instances", *_WORK, *STATES)
"""The figures of a node: counts, and times in ns; the host states come last."""


class RangeTotals:
    """Host states, exposed time, launches and device time by path and entry (groups: node * entries + entry)."""

    def __init__(self, entries: PhaseThreads, tree: RangeTree) -> None:
        """`tree` numbers the paths of ranges."""
        self._entries, self._tree = entries, tree
        self._time = GroupSums("ns")
        self._exposed = GroupSums("ns")
        self._work = GroupSums(*_WORK)
        self._opened = GroupSums("instances")

    def add(self, part: ExposedPiece) -> None:
        """Add a piece."""
        assert part.nesting is not None
        cells, exposed, launches = part.cells, part.exposed, part.piece.columns.launches
        count = len(self._entries)
        group = part.cell_node * count + part.cell_entry
        self._time.add(group * len(STATES) + cells.state, ns=cells.duration)
        self._exposed.add(group[exposed.cell], ns=exposed.duration)
        rows = np.flatnonzero(part.launch_entry >= 0)
        around = np.full(len(launches), -1, np.int64)
        for low, high in runs(launches.thread):
            thread = int(launches.thread[low])
            around[low:high] = part.nesting.innermost_at(
                part.piece.columns.trace.ranges, thread, launches.start[low:high]
            )
        memory = launches.kind[rows] == MEMORY_LAUNCH
        self._work.add(
            range_nodes(part.node, around[rows]) * count + part.launch_entry[rows],
            launches=(~memory).astype(np.int64),
            memory_launches=memory.astype(np.int64),
            kernels=launches.kernels[rows],
            device=launches.device_ns[rows],
        )
        self._count_ranges(part)

    def _count_ranges(self, part: ExposedPiece) -> None:
        """Count each range once for the instance in which it begins and once per instance that begins inside it."""
        ranges, instances = part.piece.columns.trace.ranges, part.piece.columns.instances
        count = len(self._entries)
        began = self._entries.of_held(instances.at(ranges.thread, ranges.start), part.piece.index)
        inside = np.flatnonzero(began >= 0)
        self._opened.add(part.node[inside] * count + began[inside], instances=1)
        entry_of = self._entries.of_held(np.arange(len(instances)), part.piece.index)
        for low, high in runs(instances.thread):
            thread_ranges = thread_slice(ranges.thread, int(instances.thread[low]))
            first = np.searchsorted(instances.start[low:high], ranges.start[thread_ranges], side="right")
            last = np.searchsorted(instances.start[low:high], ranges.end[thread_ranges], side="left")
            around = np.flatnonzero(last > first)
            node = part.node[thread_ranges][around]
            for entry in np.unique(entry_of[low:high]).tolist() if len(around) else ():
                before = np.r_[0, np.cumsum(entry_of[low:high] == entry)]
                inside_range = before[last[around]] - before[first[around]]
                self._opened.add(node[inside_range > 0] * count + entry, instances=inside_range[inside_range > 0])

    def rows(self, walls: Ints, steps: Ints, measured: list[bool], depth: int | None) -> list[Row]:
        """Return a row for each path and entry, in the order of the tree, the longest of siblings first.

        `walls` and `steps` are the wall time (ns) and the number of instances of each entry, `measured` says which
        entries have exposed and device time. Paths deeper than `depth` are left out, and their figures count as own
        figures of the path around them. The own times of an entry's rows add up to its wall time: NO_RANGE has the
        rest.
        """
        return [
            row
            for entry, own in enumerate(self._own_figures())
            for row in self._tree_rows(entry, own, int(walls[entry]), int(steps[entry]), measured[entry], depth)
        ]

    def _own_figures(self) -> list[dict[int, list[int]]]:
        count = len(self._entries)
        by_entry: list[dict[int, list[int]]] = [{} for _ in range(count)]

        def put(group: int, column: int, value: int) -> None:
            node, entry = divmod(group, count)
            by_entry[entry].setdefault(node, [0] * len(_FIGURES))[column] += value

        for cell, row in self._time.table().items():
            group, state = divmod(cell, len(STATES))
            put(group, len(_FIGURES) - len(STATES) + state, row["ns"])
        for group, row in self._exposed.table().items():
            put(group, 0, row["ns"])
        for group, row in self._opened.table().items():
            put(group, 1, row["instances"])
        for group, row in self._work.table().items():
            for column, name in enumerate(_WORK, start=2):
                put(group, column, row[name])
        return by_entry

    def _tree_rows(
        self, entry: int, own: dict[int, list[int]], wall: int, steps: int, measured: bool, depth: int | None
    ) -> list[Row]:
        total = self._tree.with_children(own)
        children: dict[int, list[int]] = {}
        for node in total:
            if node:
                children.setdefault(self._tree.nodes[node].parent, []).append(node)
        empty = [0] * len(_FIGURES)
        rows: list[Row] = []
        # outermost paths and the time in no range, the longest first; then down the tree
        waiting = [*children.pop(0, []), *([0] if 0 in total else [])]
        waiting.sort(key=lambda node: (_time(total[node]), -node))
        while waiting:
            node = waiting.pop()
            described = self._tree.nodes[node]
            inner = [] if depth is not None and described.depth >= depth else children.get(node, [])
            figures = own.get(node, empty) if inner or not node else total[node]
            rows.append(
                head(self._entries, entry)
                | {"depth": described.depth, "share": _time(total[node]) / wall if wall else None}
                | {"instances": own.get(node, empty)[1]}
                | _figures("", total[node], measured)
                | _figures("self_", figures, measured)
                | {"per_step_ns": _time(total[node]) // steps if steps else None}
                | {f"state_{name}": total[node][len(_FIGURES) - len(STATES) + k] for k, name in enumerate(STATES)}
                | {"range": described.name, "path": self._tree.paths[node]}
            )
            waiting += sorted(inner, key=lambda child: (_time(total[child]), -child))
        return rows


def _time(figures: list[int]) -> int:
    return sum(figures[len(_FIGURES) - len(STATES) :])


def _figures(prefix: str, figures: list[int], measured: bool) -> Row:
    exposed, _, launches, memory, kernels, device = figures[: len(_FIGURES) - len(STATES)]
    return {
        f"{prefix or 'total_'}ns": _time(figures),
        f"{prefix}exposed_ns": exposed if measured else None,
        f"{prefix}launches": launches + memory,
        f"{prefix}kernels": kernels,
        f"{prefix}device_ns": device if measured else None,
    }
