"""The host's call tree by phase and layer, from CPU samples; exposed samples are counted apart."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.sample_hits import KINDS
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import runs
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.read.call_tree import CallTree
from taxbreak_nsys.read.stack_frames import Modules
from taxbreak_nsys.totals.exposed_piece import ExposedPiece
from taxbreak_nsys.totals.listing_rows import Row, head
from taxbreak_nsys.totals.sample_breakdown import layer_name, symbol_to_show
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.sampled_split import Split, apportion

_FIGURES = ("samples", "exposed_samples", "ns", "exposed_ns")


class CallTreeTotals:
    """Samples by entry, node of the call tree, state, kind, and whether the device was idle at that moment."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._tree: CallTree | None = None
        self._by_entry: dict[int, GroupSums] = {}

    def add(self, part: ExposedPiece) -> None:
        """Add a piece."""
        sampled = part.piece.columns.sampled
        if sampled is None or sampled.source.node is None:
            return
        self._tree = sampled.source.tree
        rows = np.flatnonzero(sampled.instance >= 0)
        entry = self._entries.of_held(sampled.instance[rows], part.piece.index)
        exposed = _exposed(part, sampled.source.thread[rows], sampled.source.start[rows])
        hit = (sampled.state[rows] * len(KINDS) + sampled.kind[rows]) * 2 + exposed
        group = sampled.source.node[rows] * (len(STATES) * len(KINDS) * 2) + hit
        for code in np.unique(entry).tolist():
            self._by_entry.setdefault(code, GroupSums("samples")).add(group[entry == code], samples=1)

    @property
    def symbol_ids(self) -> Ints:
        """The StringIds of the symbols in the tree."""
        frames = self._tree.frame if self._tree is not None else []
        return np.unique(np.array([frame & 0xFFFFFFFF for frame in frames], np.int64))

    def rows(
        self, samples: SampleTotals, splits: list[Split | None], symbols: Mapping[int, str], measured: list[bool]
    ) -> list[Row]:
        """Return a row for each frame and layer of each entry, callers before callees, the longest of siblings first.

        `splits` are the strata of the entries. The time of a state and kind is split among its samples
        (`sampled_split.apportion`), so that the own times of an entry's rows add up to its time on the CPU. `row` is
        the number of a row among the entry's rows, `parent` the number of the caller's row, None for an outermost
        frame.
        """
        if self._tree is None:
            return []
        tree = _MergedTree.of(self._tree, samples.modules, symbols)
        return [
            row
            for entry, split in enumerate(splits)
            if split is not None and entry in self._by_entry
            for row in self._entry_rows(entry, split, tree, measured[entry])
        ]

    def _entry_rows(self, entry: int, split: Split, tree: _MergedTree, measured: bool) -> list[Row]:
        own = self._own_figures(entry, split, tree)
        rows: list[Row] = []
        for layer in sorted(own, key=lambda name: (-sum(f[2] for f in own[name].values()), name)):
            total = _with_callees(tree, own[layer])
            callees: dict[int, list[int]] = {}
            for node in total:
                callees.setdefault(tree.parent[node], []).append(node)
            waiting: list[tuple[int, int | None, int]] = [
                (node, None, 1) for node in _by_time(callees.get(0, []), total)
            ]  # fmt: skip
            while waiting:
                node, parent, depth = waiting.pop()
                number = len(rows)
                rows.append(
                    head(self._entries, entry)
                    | {"layer": layer, "row": number, "parent": parent, "depth": depth}
                    | _figures("", total[node], measured)
                    | _figures("self_", own[layer].get(node, [0] * len(_FIGURES)), measured)
                    | dict(zip(("file", "module", "symbol"), tree.frame[node], strict=True))
                )
                waiting += [(inner, number, depth + 1) for inner in _by_time(callees.get(node, []), total)]
        whole = sum(row["self_ns"] for row in rows)
        return [row | {"share": row["total_ns"] / whole if whole else None} for row in rows]

    def _own_figures(self, entry: int, split: Split, tree: _MergedTree) -> dict[str, dict[int, list[int]]]:
        """Return by layer the figures (_FIGURES) of each node, without its callees."""
        cells: dict[tuple[int, int], dict[tuple[int, int], int]] = {}
        for group, row in self._by_entry[entry].table().items():
            node, hit = divmod(group, len(STATES) * len(KINDS) * 2)
            state_kind, exposed = divmod(hit, 2)
            by_node = cells.setdefault(divmod(state_kind, len(KINDS)), {})
            key = (tree.of_node[node], exposed)
            by_node[key] = by_node.get(key, 0) + row["samples"]
        by_layer: dict[str, dict[int, list[int]]] = {}
        for stratum in split.strata:
            for kind, time in stratum.kinds_ns.items():
                counts = sorted(cells.get((STATES.index(stratum.state), KINDS.index(kind)), {}).items())
                layer = by_layer.setdefault(layer_name(stratum.state, kind), {})
                times = apportion(time, [count for _, count in counts])
                for ((node, exposed), count), ns in zip(counts, times, strict=True):
                    figures = layer.setdefault(node, [0] * len(_FIGURES))
                    figures[0] += count
                    figures[1] += count * exposed
                    figures[2] += ns
                    figures[3] += ns * exposed
        return {layer: nodes for layer, nodes in by_layer.items() if nodes}


@dataclass(frozen=True)
class _MergedTree:
    """A call tree merged by the displayed texts of its frames: callees with the same texts are one node.

    `parent` and `frame` (file, module's name, symbol) are columns over the merged nodes; `of_node` maps each node of
    the original tree to a merged node. A parent has a lower number than its callees.
    """

    parent: list[int]
    frame: list[tuple[str, str, str]]
    of_node: list[int]

    @classmethod
    def of(cls, tree: CallTree, modules: Modules, symbols: Mapping[int, str]) -> _MergedTree:
        """Return a tree whose nodes with the same displayed texts are merged; callees are sorted by their texts."""
        merged: dict[tuple[int, tuple[str, str, str]], int] = {}
        of_node, callees = [0], [list[tuple[tuple[str, str, str], int]]()]
        for parent, frame in zip(tree.parent[1:], tree.frame[1:], strict=True):
            module, symbol = frame >> 32, frame & 0xFFFFFFFF
            texts = (
                modules.file.get(module, ""), modules.name.get(module, ""), symbol_to_show(symbols.get(symbol, "")),
            )  # fmt: skip
            key = (of_node[parent], texts)
            if key not in merged:
                merged[key] = len(callees)
                callees[of_node[parent]].append((texts, len(callees)))
                callees.append([])
            of_node.append(merged[key])
        number = [0] * len(callees)
        parents, frames = [-1], [("", "", "")]
        waiting = [0]
        while waiting:
            caller = waiting.pop()
            for texts, node in sorted(callees[caller]):
                number[node] = len(parents)
                parents.append(number[caller])
                frames.append(texts)
                waiting.append(node)
        return cls(parent=parents, frame=frames, of_node=[number[node] for node in of_node])


def _exposed(part: ExposedPiece, thread: Ints, moment: Ints) -> Ints:
    """Return 1 for each moment in an exposed stretch of its thread, else 0."""
    exposed = part.exposed
    of_thread = part.cells.thread[exposed.cell]
    flags = np.zeros(len(moment), np.int64)
    for low, high in runs(of_thread):
        rows = np.flatnonzero(thread == of_thread[low])
        at = np.searchsorted(exposed.start[low:high], moment[rows], side="right") - 1
        flags[rows] = (at >= 0) & (moment[rows] < exposed.end[low:high][np.maximum(at, 0)])
    return flags


def _with_callees(tree: _MergedTree, own: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """Return the figures of each node including all its callees."""
    total = {node: list(figures) for node, figures in own.items()}
    heap = [-node for node in total]
    heapq.heapify(heap)
    while heap:
        node = -heapq.heappop(heap)
        parent = tree.parent[node]
        if parent <= 0:
            continue
        if parent not in total:
            total[parent] = [0] * len(_FIGURES)
            heapq.heappush(heap, -parent)
        total[parent] = [a + b for a, b in zip(total[parent], total[node], strict=True)]
    return total


def _by_time(nodes: list[int], total: Mapping[int, list[int]]) -> list[int]:
    """Return nodes with the longest last, because the caller pops from the end."""
    return sorted(nodes, key=lambda node: (total[node][2], -node))


def _figures(prefix: str, figures: list[int], measured: bool) -> dict[str, Any]:
    samples, exposed_samples, ns, exposed = figures
    return {
        f"{prefix}samples": samples,
        f"{prefix}exposed_samples": exposed_samples if measured else None,
        f"{prefix or 'total_'}ns": ns,
        f"{prefix}exposed_ns": exposed if measured else None,
    }
