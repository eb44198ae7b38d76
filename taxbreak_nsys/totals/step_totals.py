"""Figures of each phase instance, put together from pieces of a report."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.measured import InstanceSums
from taxbreak_nsys.model.name_rules import STATES


class StepTotals:
    """The `InstanceSums` of a whole report: each piece has the figures of the instances that lie in it."""

    def __init__(self, instances: int) -> None:
        """Begin with nothing known of any instance."""
        shape = (instances, len(STATES))
        self.steps = InstanceSums(
            **{
                field.name: np.zeros(shape if field.name in ("states", "exposed", "in_os") else instances, np.int64)
                for field in fields(InstanceSums)
                if field.name != "unmeasured"
            },
            unmeasured=np.zeros(instances, bool),
        )

    def add(self, index: Ints, steps: InstanceSums) -> None:
        """Take over the figures of some instances; `index` are their numbers in the whole."""
        for field in fields(InstanceSums):
            getattr(self.steps, field.name)[index] = getattr(steps, field.name)
