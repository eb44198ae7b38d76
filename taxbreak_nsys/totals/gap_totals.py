"""The device's idle gaps inside phases, with the host's activity and the operation that ended each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.arrow_codes import distinct_values
from taxbreak_nsys.arrays.grouped import ValueCounts, group_sums
from taxbreak_nsys.arrays.intervals import FOREVER, Ints, begins
from taxbreak_nsys.model.kernel_classes import KernelClass
from taxbreak_nsys.model.kernel_names import short_name
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import COPY, GRAPH, SET, DeviceOps
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.exposed_piece import ExposedPiece
from taxbreak_nsys.totals.gap_causes import largest_groups
from taxbreak_nsys.totals.label_codes import LabelCodes
from taxbreak_nsys.totals.listing_rows import Row, head, stats_row
from taxbreak_nsys.totals.range_tree import RangeTree

NO_OP, _COPY, _SET, _GRAPH = range(4)
_OP_NAMES = (None, "(memory copy)", "(memory set)", "(CUDA graph)")
"""Codes of gap ends that are no kernels: none (the capture ends), copies, sets, graphs traced as a whole."""
_OF_KIND = {COPY: _COPY, SET: _SET, GRAPH: _GRAPH}

_KEPT: dict[str, type] = {
    "start": np.int64,
    "end": np.int64,
    "instance": np.int32,
    "state": np.int8,
    "node": np.int32,
    "op": np.int32,
    "launch_start": np.int64,
}
"""The columns of `IdleGaps` that are kept of single gaps, in types that hold their values in little memory."""


@dataclass(frozen=True)
class IdleGaps:
    """Idle gaps of the devices that a phase instance uses, cut at the instance's ends; columns of one length.

    `instance` numbers the instances of the whole report; `state` is the host state and `node` the path of NVTX ranges
    that filled most of the gap. `op` is the operation that began at the gap's end (`GapTotals.op_name`), `launch_start`
    the start of its call (FOREVER: no call in the report). `devices` is an index into `ExposedParts.sets` of the piece.
    """

    start: Ints
    end: Ints
    instance: Ints
    state: Ints
    node: Ints
    op: Ints
    launch_start: Ints
    devices: Ints

    def take(self, which: Ints) -> IdleGaps:
        """Return the gaps with the given indices."""
        return IdleGaps(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[IdleGaps]) -> IdleGaps:
        """Return the gaps of several pieces."""
        if not parts:
            return cls(**{field.name: np.empty(0, np.int64) for field in fields(cls)})
        return cls(**{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls)})

    def __len__(self) -> int:
        return len(self.start)


class GapTotals:
    """Idle gaps summed by cause: the host's state and range, and the operation that ended the gap.

    The gaps of an entry add up to its device idle time. With `keep` the individual gaps are kept as well.
    """

    def __init__(self, entries: PhaseThreads, tree: RangeTree, *, keep: bool) -> None:
        """`tree` numbers the paths of ranges."""
        self._entries, self._tree, self.keeps = entries, tree, keep
        self._lengths = ValueCounts()
        self._kernels = LabelCodes(short_name)
        self._causes: dict[int, int] = {}
        self._open: list[tuple[frozenset[int], IdleGaps]] = []
        self._single: dict[str, list[NDArray[Any]]] = {name: [] for name in _KEPT}
        self._running: dict[tuple[int, int, int], int] = {}

    def add(self, part: ExposedPiece) -> None:
        """Add a piece; it may hold the operation that ends a gap left open by the previous piece."""
        ops, settled = part.piece.columns.trace.ops, part.piece.settled
        launch_start = self._launch_starts(ops, part.piece.columns.launches, settled)
        # waiting for a slower rank is no device work, so the operation begins after the wait
        begin = ops.start + part.piece.columns.communication.wait
        waiting, self._open = self._open, []
        for devices, gaps in waiting:
            self._put(devices, gaps, ops, begin, launch_start, settled)
        gaps = _find_gaps(part)
        for code in np.unique(gaps.devices).tolist():
            rows = np.flatnonzero(gaps.devices == code)
            self._put(part.exposed.sets[code], gaps.take(rows), ops, begin, launch_start, settled)

    def _launch_starts(self, ops: DeviceOps, launches: Launches, settled: int | None) -> Ints:
        """Return the start of each operation's launch (FOREVER: none).

        An operation that runs beyond its piece is in the next piece again, its launch may not be: so its launch start
        is kept for the next piece.
        """
        starts = np.full(len(ops), FOREVER, np.int64)
        joined = np.flatnonzero(launches.of_op >= 0)
        starts[joined] = launches.start[launches.of_op[joined]]
        if self._running:
            for op in np.flatnonzero(starts == FOREVER).tolist():
                key = (int(ops.stream[op]), int(ops.start[op]), int(ops.end[op]))
                starts[op] = self._running.get(key, FOREVER)
        over = np.flatnonzero((ops.end > settled) & (starts != FOREVER)) if settled is not None else joined[:0]
        columns = (ops.stream[over], ops.start[over], ops.end[over])
        keys = zip(*(column.tolist() for column in columns), strict=True)
        self._running = dict(zip(keys, starts[over].tolist(), strict=True))
        return starts

    def _put(
        self,
        devices: frozenset[int],
        gaps: IdleGaps,
        ops: DeviceOps,
        begin: Ints,
        launch_start: Ints,
        settled: int | None,
    ) -> None:
        """Count the gaps whose end is settled, with the operation that ended them; keep the others for the next piece.

        `begin` and `launch_start` are the starts of each operation and of its launch, ns. No operation of a later piece
        starts before `settled` (ns; None: there is no later piece).
        """
        on = np.flatnonzero(np.isin(ops.device_global, sorted(devices)))
        on = on[np.argsort(begin[on], kind="stable")]
        following = np.searchsorted(begin[on], gaps.end, side="left")
        there = following < len(on)
        op = on[np.minimum(following, max(len(on) - 1, 0))] if len(on) else following
        if len(on):
            gaps.op[there] = self._op_codes(ops, op[there])
            gaps.launch_start[there] = launch_start[op[there]]
        known = there if settled is None else there & (begin[op] < settled) if len(on) else there
        if settled is not None and not known.all():
            later = gaps.take(np.flatnonzero(~known))
            later.op[:], later.launch_start[:] = NO_OP, FOREVER
            self._open.append((devices, later))
            gaps = gaps.take(np.flatnonzero(known))
        self._count(gaps)

    def _op_codes(self, ops: DeviceOps, which: Ints) -> Ints:
        code = self._kernels.of_names(ops.names)[ops.name[which]] + len(_OP_NAMES)
        for kind, special in _OF_KIND.items():
            code[ops.kind[which] == kind] = special
        return code

    def op_name(self, op: int) -> str | None:
        """Return the operation that ended a gap: a kernel's short name or another operation; None for none."""
        return self._kernels.labels[op - len(_OP_NAMES)] if op >= len(_OP_NAMES) else _OP_NAMES[op]

    @property
    def op_names(self) -> tuple[str | None, ...]:
        """The names of all codes in `IdleGaps.op`."""
        return (*_OP_NAMES, *self._kernels.labels)

    def _count(self, gaps: IdleGaps) -> None:
        if not len(gaps):
            return
        cause = _cause(self._entries.of_instance[gaps.instance], gaps.state, gaps.node, gaps.op)
        code, distinct = distinct_values(cause)
        numbers = np.array([self._causes.setdefault(key, len(self._causes)) for key in distinct.tolist()], np.int64)
        self._lengths.add(numbers[code], gaps.end - gaps.start)
        if self.keeps:
            for name, kind in _KEPT.items():
                self._single[name].append(getattr(gaps, name).astype(kind))

    def finish(self) -> None:
        """Count the gaps that no operation ended."""
        waiting, self._open = self._open, []
        for _, gaps in waiting:
            self._count(gaps)

    def rows(self, measured: list[bool]) -> list[Row]:
        """Return a row for each cause and entry, largest first.

        An entry whose device time was not measured (`measured`) has no rows: its idle time is not known.
        """
        stats = self._lengths.stats()
        low, high = self._lengths.percentiles(10), self._lengths.percentiles(90)
        by_entry: list[list[Row]] = [[] for _ in range(len(self._entries))]
        for cause, number in self._causes.items():
            entry, state, node, op = _parts(cause)
            if not measured[entry]:
                continue
            by_entry[entry].append(
                head(self._entries, entry)
                | {"instances": stats[number].count}
                | stats_row("total", stats[number])
                | {"total_p10_ns": low[number], "total_p90_ns": high[number]}
                | {"state": STATES[state], "range": self._tree.paths[node]}
                | {"name": self.op_name(op)}
            )
        for rows in by_entry:
            total = sum(row["total_ns"] for row in rows)
            for row in rows:
                row["share"] = row["total_ns"] / total if total else None
            rows.sort(key=lambda row: (-row["total_ns"], row["state"], row["range"], row["name"] or ""))
        return [row for rows in by_entry for row in rows]

    def largest(self, classes: Sequence[KernelClass], measured: list[bool]) -> list[Row]:
        """Return a row for each entry: the narrowest group of gaps with at least half of its idle time."""
        described = [
            {"entry": entry, "state": STATES[state], "name": self.op_name(op)}
            for entry, state, _, op in map(_parts, self._causes)
        ]
        return [
            head(self._entries, row.pop("entry")) | row
            for row in largest_groups(self._lengths, described, classes)
            if measured[row["entry"]]
        ]

    def take_single(self, measured: list[bool]) -> dict[str, NDArray[Any]]:
        """Return the columns (`_KEPT`) of the individual gaps of measured entries, sorted by (instance, start).

        There may be millions of gaps, so they are kept no longer: the columns are joined and sorted one by one.
        """
        instance, start = self._joined("instance"), self._joined("start")
        order = np.lexsort((start, instance))
        order = order[np.array(measured, bool)[self._entries.of_instance[instance[order]]]]
        columns = {"instance": instance[order], "start": start[order]}
        del instance, start
        return columns | {name: self._joined(name)[order] for name in _KEPT if name not in columns}

    def _joined(self, name: str) -> NDArray[Any]:
        parts, self._single[name] = self._single[name], []
        return np.concatenate([np.empty(0, _KEPT[name]), *parts])


_OP_BITS, _NODE_BITS, _STATE_BITS = 28, 20, 4


def _cause(entry: Ints, state: Ints, node: Ints, op: Ints) -> Ints:
    """Return one integer for the four columns of a cause."""
    high = (((entry << _STATE_BITS) | state) << _NODE_BITS) | node
    return (high << _OP_BITS) | op


def _parts(cause: int) -> tuple[int, int, int, int]:
    op = cause & ((1 << _OP_BITS) - 1)
    cause >>= _OP_BITS
    node = cause & ((1 << _NODE_BITS) - 1)
    cause >>= _NODE_BITS
    return cause >> _STATE_BITS, cause & ((1 << _STATE_BITS) - 1), node, op


def _find_gaps(part: ExposedPiece) -> IdleGaps:
    """Return the gaps of a piece: runs of exposed stretches without device work between them."""
    exposed, cells = part.exposed, part.cells
    if not len(exposed.start):
        return IdleGaps.joined([])
    instance = cells.instance[exposed.cell]
    apart = (
        (exposed.start[1:] != exposed.end[:-1])
        | (instance[1:] != instance[:-1])
        | (exposed.gap_end[1:] != exposed.gap_end[:-1])
    )
    first = begins(apart)
    gap = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(instance)]))
    last = np.r_[first[1:] - 1, len(instance) - 1]
    count = len(first)
    by_state = group_sums(
        gap * len(STATES) + cells.state[exposed.cell], exposed.duration, count * len(STATES)
    ).reshape(count, len(STATES))  # fmt: skip
    return IdleGaps(
        start=exposed.start[first],
        end=exposed.end[last],
        instance=part.piece.index[instance[first]],
        state=np.argmax(by_state, axis=1).astype(np.int64),
        node=_heaviest_value(gap, part.cell_node[exposed.cell], exposed.duration),
        op=np.full(count, NO_OP, np.int64),
        launch_start=np.full(count, FOREVER, np.int64),
        devices=exposed.devices[first],
    )


def _heaviest_value(group: Ints, value: Ints, weight: Ints) -> Ints:
    """Return for each group (0, 1 … in order) the value with the largest sum of weights; on a tie the smallest value.

    Values are less than 1 << _NODE_BITS; every group has at least one row.
    """
    key = (group << _NODE_BITS) | value
    # merge neighbours of one value first: few rows remain to be sorted, and they are nearly in order
    first = begins(key[1:] != key[:-1])
    key, weight = key[first], np.add.reduceat(weight, first)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = begins(key[1:] != key[:-1])
    key, sums = key[first], np.add.reduceat(weight[order], first)
    begin = begins((key[1:] >> _NODE_BITS) != (key[:-1] >> _NODE_BITS))
    largest = np.repeat(np.maximum.reduceat(sums, begin), np.diff(np.r_[begin, len(key)]))
    rows = np.flatnonzero(sums == largest)
    of_group = key[rows] >> _NODE_BITS
    result: Ints = key[rows[begins(of_group[1:] != of_group[:-1])]] & ((1 << _NODE_BITS) - 1)
    return result
