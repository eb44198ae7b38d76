"""Runs of kernel launches in a row: where each begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints


@dataclass(frozen=True)
class KernelRuns:
    """Runs of launches, in the order of time per thread: thread, start of the first launch and of the last one, ns.

    `pattern` is a number for the kernels of the run. All launches of the thread between the first and the last belong
    to the run.
    """

    pattern: Ints
    thread: Ints
    first: Ints
    last: Ints

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[int, int, int, int]]) -> KernelRuns:
        """Return the runs of rows (pattern, thread, first, last)."""
        pattern, thread, first, last = np.array(rows, np.int64).reshape(-1, 4).T
        return cls(pattern, thread, first, last)

    @classmethod
    def joined(cls, parts: Sequence[KernelRuns]) -> KernelRuns:
        """Return the runs of all parts."""
        names = ("pattern", "thread", "first", "last")
        nothing = np.empty(0, np.int64)
        return cls(*(np.concatenate([nothing, *(getattr(part, name) for part in parts)]) for name in names))

    def __len__(self) -> int:
        return len(self.first)

    def keep(self, which: Flags | Ints) -> KernelRuns:
        """Return the runs that are flagged, or that have these indices."""
        return KernelRuns(self.pattern[which], self.thread[which], self.first[which], self.last[which])
