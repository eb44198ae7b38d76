"""A set of correlation ids by process: one bit per id, because CUPTI numbers them consecutively."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints, distinct

Bits = NDArray[np.uint8]
_LARGEST = 1 << 31
"""Ids from here on (only damaged reports have them) are kept as sorted numbers: bits would take too much memory."""


class IdSet:
    """A set of (process, id) pairs; ids below 0 mean "no id" and are never in the set."""

    def __init__(self) -> None:
        self._bits: dict[int, Bits] = {}
        self._large: dict[int, Ints] = {}

    def add(self, process: Ints, number: Ints) -> None:
        """Add ids; `process` and `number` are columns of one length."""
        for key in distinct(process):
            ids = number[(process == key) & (number >= 0)]
            large = ids >= _LARGEST
            if large.any():
                self._large[key] = np.union1d(self._large.get(key, ids[:0]), ids[large])
                ids = ids[~large]
            if not len(ids):
                continue
            bits = self._bits.get(key, np.zeros(0, np.uint8))
            largest = int(ids.max())
            if largest // 8 >= len(bits):
                bits = np.r_[bits, np.zeros(max(largest // 8 + 1, 2 * len(bits)) - len(bits), np.uint8)]
                self._bits[key] = bits
            np.bitwise_or.at(bits, ids >> 3, (1 << (ids & 7)).astype(np.uint8))

    def flags(self, process: Ints, number: Ints) -> Flags:
        """Return a flag per (process, number): whether the id is in the set."""
        result = np.zeros(len(number), bool)
        for key, bits in self._bits.items():
            rows = np.flatnonzero((process == key) & (number >= 0) & (number < 8 * len(bits)))
            ids = number[rows]
            result[rows] = (bits[ids >> 3] >> (ids & 7) & 1) != 0
        for key, large in self._large.items():
            result |= (process == key) & np.isin(number, large)
        return result

    def holds(self, process: Ints, number: Ints) -> bool:
        """Return whether the set has at least one of the ids."""
        return bool(self.flags(process, number).any())
