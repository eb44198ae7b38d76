"""The layers of a phase by framework operator, and the time that the paper's subtraction moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from taxbreak_nsys.arrays.grouped import ExcessOverFloor, GroupSums, ValueCounts, group_sums
from taxbreak_nsys.arrays.intervals import Ints, among, begins, distinct
from taxbreak_nsys.measure.library_launches import launch_kernel_names
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.self_time import GROUPS, self_times
from taxbreak_nsys.model.launches import KERNEL_LAUNCH
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.result import Phase
from taxbreak_nsys.totals.listing_rows import NO_OPERATOR, HostShare, Row, head, layer_rows, stats_row


@dataclass(frozen=True)
class MovedToLibrary:
    """The time that the subtraction (method section 4, Eq. 5) moves from framework to library, ns.

    By phase entry (before the cap at the time of `dispatch`), by kernel group and by operator group. `t_base` is None
    if no framework-native launch in a phase has an operator around it; nothing is moved then.
    """

    t_base: int | None
    by_entry: dict[int, int] = field(default_factory=dict)
    by_kernel: dict[int, int] = field(default_factory=dict)
    by_operator: dict[int, int] = field(default_factory=dict)


class OperatorTotals:
    """Sums of operators by name and entry (groups: name * entries + entry), and of launches for the subtraction."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._total = ValueCounts()
        self._sums = GroupSums(*GROUPS, "launches", "kernels", "device")
        self._native = ValueCounts()
        self._by_entry, self._by_kernel, self._by_operator = ExcessOverFloor(), ExcessOverFloor(), ExcessOverFloor()
        self._several: list[tuple[Ints, ...]] = []
        """Of operators with several library-mediated launches, one row per launch: the operator's number, its group,
        its framework time, the launch's dispatch time."""
        self._numbered = 0
        self.with_dispatch: set[int] = set()
        """The entries that have a kernel launch with an operator around it."""

    def add(
        self, columns: Measured, operator_instance: Ints, operator_entry: Ints, launch_entry: Ints, framework: Ints
    ) -> None:
        """Add a piece; `framework` is the host time before each launch, ns."""
        operators, launches, mediation = columns.operators, columns.launches, columns.mediation
        if not len(operators):
            return
        own = among(operator_entry >= 0)
        self_ns = self_times(columns, operator_instance)
        # a launch counts for its operator only if it lies in the instance in which the operator started
        around = operators.of_launch
        until = columns.instances.end[operator_instance] if len(columns.instances) else operators.end
        under = (around >= 0) & (launch_entry >= 0)
        under[under] = (operator_entry[around[under]] >= 0) & (launches.start[under] < until[around[under]])
        at = around[under]

        def of_launches(value: Ints) -> Ints:
            return group_sums(at, value[under], len(operators))[own]

        name = columns.trace.ranges.name[operators.index]
        group = name[own] * len(self._entries) + operator_entry[own]
        self._total.add(group, (operators.end - operators.start)[own])
        self._sums.add(
            group, **{key: value[own] for key, value in self_ns.items()},
            launches=of_launches(np.ones(len(launches), np.int64)), kernels=of_launches(launches.kernels),
            device=of_launches(launches.device_ns),
        )  # fmt: skip

        counted = columns.launched_by_host & mediation.has_dispatch & (launches.kind == KERNEL_LAUNCH)
        self.with_dispatch |= set(distinct(launch_entry[(launch_entry >= 0) & mediation.has_dispatch]))
        native = counted & (mediation.reason == 0)
        self._native.add(np.zeros(int(native.sum()), np.int64), mediation.t_dispatch[native])
        asked = np.flatnonzero(counted & (mediation.reason > 0))
        dispatch, entry = mediation.t_dispatch[asked], launch_entry[asked]
        kernel = launch_kernel_names(columns.trace, launches)[asked] * len(self._entries) + entry
        self._by_entry.add(entry, dispatch)
        # capped by the framework time before each launch, and by the operator's own framework time
        self._by_kernel.add(kernel, dispatch, framework[asked])
        operator, dispatch = around[asked][under[asked]], dispatch[under[asked]]
        name_of = name * len(self._entries) + operator_entry
        alone = np.bincount(operator, minlength=len(operators))[operator] == 1
        single = operator[alone]
        self._by_operator.add(name_of[single], dispatch[alone], self_ns["framework"][single])
        several = operator[~alone]
        self._several.append(
            (several + self._numbered, name_of[several], self_ns["framework"][several], dispatch[~alone])
        )
        self._numbered += len(operators)

    def moved(self) -> MovedToLibrary:
        """Return the time that the subtraction moves, with T_base over all pieces."""
        t_base = self._native.percentile(50)
        if t_base is None:
            return MovedToLibrary(None)
        by_operator = GroupSums("ns")
        for group, ns in self._by_operator.total(t_base).items():
            by_operator.add(np.array([group]), ns=np.array([ns]))
        for number, name, own, dispatch in self._several:
            # the excess over T_base of all launches of one operator, capped by the operator's framework time
            order = np.argsort(number, kind="stable")
            first = begins(number[order][1:] != number[order][:-1]) if len(order) else order
            if len(first):
                spent = np.add.reduceat(np.maximum(dispatch[order] - t_base, 0), first)
                by_operator.add(name[order[first]], ns=np.minimum(spent, own[order[first]]))
        operators = {group: row["ns"] for group, row in by_operator.table().items()}
        return MovedToLibrary(t_base, self._by_entry.total(t_base), self._by_kernel.total(t_base), operators)

    def rows(self, names: Sequence[str], phases: Sequence[Phase], moved: Mapping[int, int]) -> list[Row]:
        """Return a row for each operator name and phase; empty if the report has no operator ranges.

        `phases` are the entries in order. `total_ns` is the duration of the ranges including the operators inside them;
        `self` figures leave these out. A launch or kernel counts for its innermost operator. The last row of a phase is
        its rest (`listing_rows.NO_OPERATOR`), so that the rows add up to the phase.
        """
        totals, sums, entries = self._total.stats(), self._sums.table(), len(self._entries)
        by_entry: dict[int, list[int]] = {}
        for group in totals:
            by_entry.setdefault(group % entries, []).append(group)
        rows: list[Row] = []
        for entry, phase in enumerate(phases):
            groups = by_entry.get(entry, [])
            if not groups:
                continue
            shares = [HostShare(sums[g]["framework"], sums[g]["library"], moved.get(g, 0)) for g in groups]
            *split, rest = layer_rows(phase, shares)
            where = head(self._entries, entry)
            entry_rows = [
                {
                    **where,
                    "operator": names[group // entries],
                    "instances": totals[group].count,
                    **stats_row("total", totals[group]),
                    "self_ns": sums[group]["all"],
                    **layers,
                    "launch_ns": sums[group]["launch"],
                    "launches": sums[group]["launches"],
                    "kernels": sums[group]["kernels"],
                    "device_ns": sums[group]["device"],
                }
                for group, layers in zip(groups, split, strict=True)
            ]
            rows += sorted(entry_rows, key=lambda row: (-row["self_ns"], row["operator"]))
            rows.append(self._rest(entry, phase, entry_rows, rest))
        return rows

    def _rest(self, entry: int, phase: Phase, rows: Sequence[Row], layers: Row) -> Row:
        """Return the row with the rest of a phase outside its operators; null where the phase has null."""
        counts = phase.launches
        launches = counts.kernel + counts.graph + counts.memory
        whole = {
            "self_ns": phase.wall_ns,
            "launch_ns": phase.states_ns["launch"],
            "launches": launches,
            "kernels": phase.kernels,
            "device_ns": phase.device.kernel_sum_ns,
        }
        remainder = {
            key: None if value is None else value - sum(row[key] for row in rows) for key, value in whole.items()
        }
        row = head(self._entries, entry) | {"operator": NO_OPERATOR, "instances": 0} | stats_row("total", None)
        return row | {"self_ns": remainder["self_ns"]} | layers | remainder
