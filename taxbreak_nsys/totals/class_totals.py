"""Device and launch time by class of kernel: GEMM, attention, communication …"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums
from taxbreak_nsys.arrays.intervals import Ints, among
from taxbreak_nsys.measure.library_launches import launch_kernel_names
from taxbreak_nsys.model.kernel_classes import KernelClass, class_titles, classify
from taxbreak_nsys.model.kernel_names import short_name
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, MEMORY_LAUNCH, UNMEASURED_GRAPH
from taxbreak_nsys.model.trace_columns import GRAPH, KERNEL
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.exposed_piece import ExposedPiece
from taxbreak_nsys.totals.listing_rows import Row, head

MEMORY, CUDA_GRAPH = "memory", "cuda_graph"
"""Rows in addition to the kernel classes: copies and sets; graph launches and graphs traced as a whole."""
_TITLES = {MEMORY: "Copies and sets", CUDA_GRAPH: "CUDA graphs as a whole"}
_MEMORY_NAME, _GRAPH_NAME, _NAMES_FROM = 0, 1, 2
_FIGURES = ("operations", "device_ns", "launches", "launch_ns", "exposed_ns")
_MOST_NAMES = 3


class ClassTotals:
    """Operations and launches by kernel name and entry (groups: name * entries + entry), classified at the end."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._sums = GroupSums(*_FIGURES)

    def add(self, part: ExposedPiece) -> None:
        """Add a piece: a launch belongs to the class of its kernel, a graph launch to CUDA_GRAPH."""
        columns, cells, exposed = part.piece.columns, part.cells, part.exposed
        ops, launches = columns.trace.ops, columns.launches
        op_entry = self._entries.of_held(columns.op_instance, part.piece.index)
        op_rows = np.flatnonzero(op_entry >= 0)
        name = np.full(len(op_rows), _MEMORY_NAME, np.int64)
        name[ops.kind[op_rows] == GRAPH] = _GRAPH_NAME
        is_kernel = ops.kind[op_rows] == KERNEL
        name[is_kernel] = ops.name[op_rows][is_kernel] + _NAMES_FROM
        self._put(name, op_entry[op_rows], operations=1, device_ns=(ops.end - ops.start)[op_rows])

        name = launch_kernel_names(columns.trace, launches) + _NAMES_FROM
        name[launches.kind == MEMORY_LAUNCH] = _MEMORY_NAME
        name[np.isin(launches.kind, (GRAPH_LAUNCH, UNMEASURED_GRAPH))] = _GRAPH_NAME
        launch_rows = among(part.launch_entry >= 0)
        self._put(name[launch_rows], part.launch_entry[launch_rows], launches=1)
        # launch time is the part of the call in the states `launch` and `memop`: no wait, profiler or module load
        calls = np.flatnonzero(cells.launch >= 0)
        self._put(name[cells.launch[calls]], part.cell_entry[calls], launch_ns=cells.duration[calls])
        free = np.flatnonzero(cells.launch[exposed.cell] >= 0)
        cell = exposed.cell[free]
        self._put(name[cells.launch[cell]], part.cell_entry[cell], exposed_ns=exposed.duration[free])

    def _put(self, name: Ints, entry: Ints, **figures: Ints | int) -> None:
        values: dict[str, Ints | int] = dict.fromkeys(_FIGURES, 0)
        self._sums.add(name * len(self._entries) + entry, **(values | figures))

    def rows(
        self,
        names: Sequence[str],
        classes: Sequence[KernelClass],
        steps: Ints,
        tokens: Sequence[int | None],
        measured: list[bool],
    ) -> list[Row]:
        """Return a row for each class and entry, largest device time first.

        `steps` and `tokens` are the instances and tokens of each entry. Device times without MEMORY add up to the
        entry's kernel time, launches to its kernel, graph and memory launches, `exposed_ns` to its exposed `launch` and
        `memop` states.
        """
        titles = class_titles(classes) | _TITLES
        table = self._sums.table()
        used = sorted({group // len(self._entries) for group in table} - {_MEMORY_NAME, _GRAPH_NAME})
        class_of = dict(zip(used, classify([names[code - _NAMES_FROM] for code in used], classes), strict=True))
        class_of |= {_MEMORY_NAME: MEMORY, _GRAPH_NAME: CUDA_GRAPH}
        by_class: list[dict[str, dict[str, int]]] = [{} for _ in range(len(self._entries))]
        kernels: list[dict[str, dict[str, int]]] = [{} for _ in range(len(self._entries))]
        for group, row in table.items():
            name, entry = divmod(group, len(self._entries))
            sums = by_class[entry].setdefault(class_of[name], dict.fromkeys(_FIGURES, 0))
            for key in _FIGURES:
                sums[key] += row[key]
            if name >= _NAMES_FROM:
                times = kernels[entry].setdefault(class_of[name], {})
                short = short_name(names[name - _NAMES_FROM])
                times[short] = times.get(short, 0) + row["device_ns"]
        return [
            self._row(entry, key, titles[key], sums, kernels[entry].get(key, {}), total)
            | _per(sums, int(steps[entry]), tokens[entry], measured[entry])
            for entry, of_class in enumerate(by_class)
            for total in [sum(sums["device_ns"] for key, sums in of_class.items() if key != MEMORY)]
            for key, sums in sorted(of_class.items(), key=lambda item: (-item[1]["device_ns"], item[0]))
        ]

    def _row(self, entry: int, key: str, title: str, sums: dict[str, int], kernels: dict[str, int], total: int) -> Row:
        largest = sorted(kernels, key=lambda name: (-kernels[name], name))
        more = f" and {len(largest) - _MOST_NAMES} more" if len(largest) > _MOST_NAMES else ""
        share = sums["device_ns"] / total if total and key != MEMORY else None
        return head(self._entries, entry) | {
            "class": key,
            "title": title,
            "share": share,
            "operations": sums["operations"],
            "device_ns": sums["device_ns"],
            "launches": sums["launches"],
            "launch_ns": sums["launch_ns"],
            "kernel_names": ", ".join(largest[:_MOST_NAMES]) + more,
        }


def _per(sums: dict[str, int], steps: int, tokens: int | None, measured: bool) -> Row:
    """Return exposed launch time, null where the device was not measured, and figures per step and per token."""
    exposed = sums["exposed_ns"] if measured else None
    return {
        "exposed_launch_ns": exposed,
        "device_per_step_ns": sums["device_ns"] // steps if steps else None,
        "exposed_launch_per_step_ns": exposed // steps if steps and exposed is not None else None,
        "device_per_token_ns": sums["device_ns"] // tokens if tokens else None,
        "exposed_launch_per_token_ns": exposed // tokens if tokens and exposed is not None else None,
    }
