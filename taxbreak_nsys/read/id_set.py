"""A set of correlation ids by process, a byte an id: they are numbered one by one."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.intervals import Flags, Ints
from taxbreak_nsys.read.streams import UnorderedError

_LARGEST = 1 << 28


class IdSet:
    """Ids that were added, of each process; ids below 0 stand for none and are never held."""

    def __init__(self) -> None:
        """Begin empty."""
        self._held: dict[int, Flags] = {}

    def add(self, process: Ints, number: Ints) -> None:
        """Add ids; UnorderedError where they are no small numbers."""
        for one in np.unique(process).tolist():
            mine = number[(process == one) & (number >= 0)]
            if not len(mine):
                continue
            largest = int(mine.max())
            if largest >= _LARGEST:
                raise UnorderedError
            held = self._held.get(one, np.zeros(0, bool))
            if largest >= len(held):
                held = np.r_[held, np.zeros(max(largest + 1, 2 * len(held)) - len(held), bool)]
                self._held[one] = held
            held[mine] = True

    def holds(self, process: Ints, number: Ints) -> bool:
        """Tell whether any of some ids was added."""
        for one, held in self._held.items():
            mine = number[(process == one) & (number >= 0) & (number < len(held))]
            if held[mine].any():
                return True
        return False
