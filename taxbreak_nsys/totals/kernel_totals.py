"""Device time, launch time and the layers of a phase by kernel name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums, ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.library_launches import REASONS, launch_kernel_names
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import KERNEL_LAUNCH
from taxbreak_nsys.model.name_rules import kernel_library
from taxbreak_nsys.model.trace_columns import KERNEL
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.result import Phase
from taxbreak_nsys.totals.listing_rows import NO_KERNEL, HostShare, Row, head, layer_rows, stats_row

_NOT_SPLIT = {"delta_ft_ns": None, "delta_ct_ns": None}
_NO_LAUNCHES = [0] * len(REASONS)


class KernelTotals:
    """Device, launch and host time by kernel name and entry; groups are name * entries + entry."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._device, self._launch = ValueCounts(), ValueCounts()
        self._host = GroupSums("framework", "library")
        self._reasons = GroupSums("launches")
        self._operators = GroupSums("launches")
        self._operator_names: tuple[str, ...] = ()

    def add(self, columns: Measured, op_entry: Ints, launch_entry: Ints, framework: Ints, library: Ints) -> None:
        """Add a piece; `framework` and `library` are the host time before each launch, ns."""
        ops, launches = columns.trace.ops, columns.launches
        kernels = np.flatnonzero((op_entry >= 0) & (ops.kind == KERNEL))
        self._device.add(self._group(ops.name[kernels], op_entry[kernels]), (ops.end - ops.start)[kernels])
        rows = np.flatnonzero((launch_entry >= 0) & (launches.kind == KERNEL_LAUNCH))
        group = self._group(launch_kernel_names(columns.trace, launches)[rows], launch_entry[rows])
        self._launch.add(group, (launches.end - launches.start)[rows])
        self._host.add(group, framework=framework[rows], library=library[rows])
        self._reasons.add(group * len(REASONS) + columns.mediation.reason[rows], launches=1)
        chains = columns.chains
        if chains is not None and chains.operators:
            self._operator_names = chains.operators
            at = chains.of(columns.trace.api.callchain_id[launches.api[rows]])
            operator = np.where(at >= 0, chains.operator[at], -1)
            known = operator >= 0
            self._operators.add(group[known] * len(chains.operators) + operator[known], launches=1)

    def _group(self, name: Ints, entry: Ints) -> Ints:
        return name * len(self._entries) + entry

    def libraries(self, names: Sequence[str]) -> dict[int, set[str]]:
        """Return by entry the CUDA libraries that launched kernels, by the kernels' names (graphs left out)."""
        launched = np.unique(self._launch.values()[0]).tolist()
        library_of = {code: kernel_library(names[code]) for code in {group // len(self._entries) for group in launched}}
        libraries: dict[int, set[str]] = {}
        for group in launched:
            code, entry = divmod(group, len(self._entries))
            if library := library_of[code]:
                libraries.setdefault(entry, set()).add(library)
        return libraries

    def rows(self, names: Sequence[str], phases: Sequence[Phase], moved: Mapping[int, int]) -> list[Row]:
        """Return a row for each kernel name and phase: device time, launch time, host time before the launch.

        `phases` are the entries in order, `moved` the time that the subtraction moves to the library, by group, ns.
        Kernels of a graph have no own launch: their launch and host figures are null. The last row of a phase is its
        rest (`listing_rows.NO_KERNEL`), so that the rows add up to the phase.
        """
        device, launch, host = self._device.stats(), self._launch.stats(), self._host.table()
        reasons = self._reasons_by_group()
        operators, entries = self._best_operators(), len(self._entries)
        by_entry: dict[int, list[int]] = {}
        for group in device:
            by_entry.setdefault(group % entries, []).append(group)
        rows: list[Row] = []
        for entry, phase in enumerate(phases):
            groups = by_entry.get(entry, [])
            total = sum(device[group].total for group in groups)
            launched = [group for group in groups if group in host]
            shares = [HostShare(host[g]["framework"], host[g]["library"], moved.get(g, 0)) for g in launched]
            *split, rest = layer_rows(phase, shares)
            layers = dict(zip(launched, split, strict=True))
            where = head(self._entries, entry)
            entry_rows = [
                {
                    **where,
                    "name": names[group // entries],
                    "instances": device[group].count,
                    "launches": launch[group].count if group in launch else 0,
                    "device_share": device[group].total / total if total else None,
                    **stats_row("device", device[group]),
                    **stats_row("launch", launch.get(group)),
                    **layers.get(group, _NOT_SPLIT),
                    **_mediated(reasons.get(group, _NO_LAUNCHES)),
                    "operator": operators.get(group),
                }
                for group in groups
            ]
            rows += sorted(entry_rows, key=lambda row: (-row["device_ns"], row["name"]))
            if groups:
                rows.append(self._rest(entry, phase, total) | rest)
        return rows

    def _rest(self, entry: int, phase: Phase, device_ns: int) -> Row:
        """Return the rest of a phase beside the listed kernels; its device time is the graphs traced as a whole."""
        return (
            head(self._entries, entry)
            | {"name": NO_KERNEL, "instances": 0, "launches": 0, "device_share": None}
            | stats_row("device", None)
            | {"device_ns": (phase.device.kernel_sum_ns or device_ns) - device_ns}
            | stats_row("launch", None)
            | {"library_mediated": None, "why": "host time that led to no kernel launch", "operator": None}
        )

    def _reasons_by_group(self) -> dict[int, list[int]]:
        """Return for each group with launches the number of them by reason, in the order of REASONS."""
        counts: dict[int, list[int]] = {}
        for key, row in self._reasons.table().items():
            group, reason = divmod(key, len(REASONS))
            counts.setdefault(group, [0] * len(REASONS))[reason] = row["launches"]
        return counts

    def _best_operators(self) -> dict[int, str]:
        """Return for each group the framework operator that launched it most often, from call chains."""
        best: dict[int, tuple[int, int]] = {}
        for key, row in self._operators.table().items():
            group, operator = divmod(key, len(self._operator_names))
            best[group] = max(best.get(group, (0, 0)), (row["launches"], -operator))
        return {group: self._operator_names[-operator] for group, (_, operator) in best.items()}


def _mediated(counts: Sequence[int]) -> Row:
    """Return whether most launches of a kernel were library-mediated, and the most frequent sign of it."""
    if not sum(counts):
        return {"library_mediated": None, "why": "launched by a CUDA graph"}
    yes = sum(counts[1:])
    why = REASONS[counts.index(max(counts[1:]), 1)] if yes else "no sign of a library"
    return {"library_mediated": yes * 2 > sum(counts), "why": why}
