"""A set of correlation ids by process, a bit an id: they are numbered one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.errors import UnorderedError

Bits = NDArray[np.uint8]
_LARGEST = 1 << 31


class IdSet:
    """Ids that were added, of each process; ids below 0 stand for none and are never held."""

    def __init__(self) -> None:
        """Begin empty."""
        self._held: dict[int, Bits] = {}

    def add(self, process: Ints, number: Ints) -> None:
        """Add ids; UnorderedError where they are no small numbers."""
        for one in np.unique(process).tolist():
            mine = number[(process == one) & (number >= 0)]
            if not len(mine):
                continue
            largest = int(mine.max())
            if largest >= _LARGEST:
                raise UnorderedError
            held = self._held.get(one, np.zeros(0, np.uint8))
            if largest // 8 >= len(held):
                held = np.r_[held, np.zeros(max(largest // 8 + 1, 2 * len(held)) - len(held), np.uint8)]
                self._held[one] = held
            np.bitwise_or.at(held, mine >> 3, (1 << (mine & 7)).astype(np.uint8))

    def holds(self, process: Ints, number: Ints) -> bool:
        """Tell whether any of some ids was added."""
        for one, held in self._held.items():
            mine = number[(process == one) & (number >= 0) & (number < 8 * len(held))]
            if np.any(held[mine >> 3] >> (mine & 7) & 1):
                return True
        return False
