"""The phases of one thread, in tables by label code that scenarios look up."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Floats
from taxbreak_nsys.attribution.layers import layer_parts
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.result import Phase

STAYS = "os_wait"
"""The host state that launching a CUDA graph does not remove."""


class ThreadPhases:
    """A thread's phase entries by label code, of `labels` labels; the last row of each table is for no label."""

    def __init__(self, entries: Mapping[int, Phase], labels: int) -> None:
        """Flag the labels that have an entry."""
        self.entries, self.labels = entries, labels
        self.known: Flags = np.zeros(labels + 1, bool)
        """A flag for each label code: whether the thread has an entry with this label."""
        self.known[list(entries)] = True
        self.tables: dict[Hashable, Floats] = {}
        """Tables that were computed for one stretch of the thread and serve the others too, by scenario."""

    @cached_property
    def staying(self) -> Floats:
        """The share of host time that a CUDA graph does not remove, 0 to 1: shape (labels + 1, states)."""
        part = np.ones((self.labels + 1, len(STATES)))
        for code, entry in self.entries.items():
            part[code] = 0.0
            for state, (framework, library) in layer_parts(entry).items():
                part[code, STATE[state]] = 1 - framework - library
            part[code, STATE[STAYS]] = 1.0
        return part
