"""The sums of each phase instance, collected from pieces of a report."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.measured import InstanceSums
from taxbreak_nsys.model.name_rules import STATES

_BY_STATE = ("states", "marked", "exposed", "in_os", "helpers")
_FLAGS = ("unmeasured", "comm_unpaired", "comm_alone")


class StepTotals:
    """The `InstanceSums` of a whole report, filled piece by piece: an instance lies in one piece."""

    def __init__(self, instances: int) -> None:
        shape = (instances, len(STATES))
        columns: dict[str, Any] = {
            field.name: np.zeros(shape if field.name in _BY_STATE else instances, bool if field.name in _FLAGS else int)
            for field in fields(InstanceSums)
        }
        self.steps = InstanceSums(**columns)

    def add(self, index: Ints, steps: InstanceSums) -> None:
        """Copy the sums of a piece's instances; `index` are their numbers in the whole report."""
        for field in fields(InstanceSums):
            getattr(self.steps, field.name)[index] = getattr(steps, field.name)
