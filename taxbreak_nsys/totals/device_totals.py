"""Device time of phase entries, added up from pieces of a report; intervals before the settled time are summed."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import row_codes
from taxbreak_nsys.arrays.intervals import NEVER, Ints, union
from taxbreak_nsys.model.assumptions import Assumptions, WrongAssumption
from taxbreak_nsys.model.trace_columns import DeviceOps
from taxbreak_nsys.phases.phase_threads import PhaseThreads


class DeviceTotals:
    """T_DeviceActive of every entry, and of every label that several threads share (method section 5)."""

    def __init__(self, entries: PhaseThreads, assumptions: Assumptions) -> None:
        self._entries, self._slack_ns = entries, assumptions.clock_slack_ns
        self._shared = {label for label, members in entries.by_label if len(members) > 1}
        self._pending: dict[tuple[int, int, int], tuple[Ints, Ints]] = {}
        self._active: dict[int, int] = {}
        self._settled = NEVER

    def add(self, ops: DeviceOps, comm_wait: Ints, entry: Ints, settled: int | None) -> None:
        """Add operations; `entry` is the entry of each (-1: none), `comm_wait` its wait for other ranks, ns.

        No operation of a later piece starts before `settled` (ns). Raises WrongAssumption if an operation starts before
        the settled time of an earlier piece, because clocks disagree.
        """
        chosen = np.flatnonzero((entry >= 0) & ops.computes)
        if len(chosen):
            early = self._settled - int(ops.start[chosen].min())
            if early > 0:
                raise WrongAssumption(clock_slack_ns=2 * (self._slack_ns + early))
            busy, end, op_entry = (ops.start + comm_wait)[chosen], ops.end[chosen], entry[chosen]
            code, sample = row_codes(op_entry, ops.process[chosen], ops.device[chosen])
            for key, first in enumerate(sample.tolist()):
                rows = np.flatnonzero(code == key) if len(sample) > 1 else slice(None)
                owner, process, device = (
                    int(c) for c in (op_entry[first], ops.process[chosen[first]], ops.device[chosen[first]])
                )
                self._hold((owner, process, device), busy[rows], end[rows])
                label = int(self._entries.label[owner])
                if label in self._shared:
                    self._hold((-1 - label, process, device), busy[rows], end[rows])
        if settled is not None:
            self._settle(settled - self._slack_ns)

    def _hold(self, key: tuple[int, int, int], start: Ints, end: Ints) -> None:
        pending = self._pending.get(key)
        if pending is not None:
            start, end = np.r_[pending[0], start], np.r_[pending[1], end]
        self._pending[key] = union(start, end)

    def _settle(self, moment: int) -> None:
        self._settled = max(self._settled, moment)
        for key, (start, end) in self._pending.items():
            done = int(np.searchsorted(end, moment, side="left"))
            if done:
                spent = int((end[:done] - start[:done]).sum())
                self._active[key[0]] = self._active.get(key[0], 0) + spent
                self._pending[key] = start[done:], end[done:]

    def active_ns(self, entry: int) -> int:
        """Return T_DeviceActive of an entry, ns."""
        return self._total(entry)

    def active_of_label_ns(self, label: int) -> int:
        """Return T_DeviceActive of a label that several threads share, ns."""
        return self._total(-1 - label)

    def _total(self, owner: int) -> int:
        pending = (intervals for key, intervals in self._pending.items() if key[0] == owner)
        return self._active.get(owner, 0) + sum(int((end - start).sum()) for start, end in pending)
