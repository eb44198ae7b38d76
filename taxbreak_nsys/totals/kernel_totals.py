"""Where in a phase the layers' time lies, by kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums, ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.library_launches import REASONS, launch_kernel_names
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import KERNEL_LAUNCH
from taxbreak_nsys.model.trace_columns import KERNEL
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.listing_rows import NO_SPLIT, Row, head, stats_row


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
        mine = np.flatnonzero((launch_entry >= 0) & (launches.kind == KERNEL_LAUNCH))
        group = self._group(launch_kernel_names(columns.trace, launches)[mine], launch_entry[mine])
        self._launch.add(group, (launches.end - launches.start)[mine])
        self._host.add(group, framework=framework[mine], library=library[mine])
        self._reasons.add(group * len(REASONS) + columns.mediation.reason[mine], launches=1)
        chains = columns.chains
        if chains is not None and chains.operators:
            self._operator_names = chains.operators
            at = chains.of(columns.trace.api.callchain_id[launches.api[mine]])
            operator = np.where(at >= 0, chains.operator[at], -1)
            found = operator >= 0
            self._operators.add(group[found] * len(chains.operators) + operator[found], launches=1)

    def _group(self, name: Ints, entry: Ints) -> Ints:
        return name * len(self._entries) + entry

    def rows(self, names: Sequence[str], evidence: Sequence[str], moved: Mapping[int, int]) -> list[Row]:
        """Return a row a kernel name and phase: device and launch time, the host time that led to it.

        `evidence` is that of each entry, `moved` what the subtraction takes from the framework, by group, ns. Kernels
        of a graph have no launch of their own: their launch and host figures are null.
        """
        device, launch, host = self._device.stats(), self._launch.stats(), self._host.table()
        reasons = self._reasons.table()
        operators = self._best_operators()
        by_entry: dict[int, list[int]] = {}
        for group in device:
            by_entry.setdefault(group % len(self._entries), []).append(group)
        rows: list[Row] = []
        for entry in range(len(self._entries)):
            groups = by_entry.get(entry, [])
            total = sum(device[group].total for group in groups)
            found = []
            for group in groups:
                launched = launch.get(group)
                found.append(
                    head(self._entries, entry)
                    | {"name": names[group // len(self._entries)], "instances": device[group].count}
                    | {"launches": launched.count if launched else 0}
                    | {"device_share": device[group].total / total if total else None}
                    | stats_row("device", device[group])
                    | stats_row("launch", launched)
                    | _layers(host.get(group), evidence[entry], moved.get(group, 0))
                    | _mediated(
                        [reasons.get(group * len(REASONS) + k, {}).get("launches", 0) for k in range(len(REASONS))]
                    )
                    | {"operator": operators.get(group)}
                )
            rows += sorted(found, key=lambda row: (-row["device_ns"], row["name"]))
        return rows

    def _best_operators(self) -> dict[int, str]:
        """Return for each group the framework operator that most often launched it, by its call chains."""
        best: dict[int, tuple[int, int]] = {}
        for key, row in self._operators.table().items():
            group, operator = divmod(key, len(self._operator_names))
            best[group] = max(best.get(group, (0, 0)), (row["launches"], -operator))
        return {group: self._operator_names[-operator] for group, (_, operator) in best.items()}


def _layers(host: Mapping[str, int] | None, evidence: str, moved: int) -> Row:
    """Return delta_ft and delta_ct of some launches under the evidence of their phase."""
    if host is None:
        return {"delta_ft_ns": None, "delta_ct_ns": None}
    framework, library = host["framework"], host["library"]
    if evidence in NO_SPLIT:
        return {"delta_ft_ns": framework + library, "delta_ct_ns": None}
    moved = moved if evidence == "subtractive" else 0
    return {"delta_ft_ns": framework - moved, "delta_ct_ns": library + moved}


def _mediated(counts: Sequence[int]) -> Row:
    """Say whether launches of one kernel were library-mediated, and by which sign most often."""
    if not sum(counts):
        return {"library_mediated": None, "why": "launched by a CUDA graph"}
    yes = sum(counts[1:])
    why = REASONS[counts.index(max(counts[1:]), 1)] if yes else "no sign of a library"
    return {"library_mediated": yes * 2 > sum(counts), "why": why}
