"""The sums over the replays of one phase entry's stretches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.replay.outcome import Outcome

Stretches = Sequence[tuple[Outcome, Ints]]
"""The outcome of each stretch of an entry, and the indices of the entry's instances in it."""


@dataclass(frozen=True)
class EntrySums:
    """The sums over the replays of one entry's stretches, ns.

    `walls` has one row for each instance. No sum is below the busy time of the busiest stream, unless the measured sum
    is below it too.
    """

    walls: Ints
    wall: int
    completion: int

    @classmethod
    def of(cls, before: Stretches, after: Stretches) -> EntrySums:
        """Return the sums over an entry's instances under a scenario; `before` has the replays without a change."""
        walls, completion = [], 0
        least_wall, least_completion, busiest = 0, 0, 0.0
        for (unchanged, which), (changed, _) in zip(before, after, strict=True):
            wall = unchanged.wall[which]
            busy = changed.busy[which]
            by_instance = np.floor(busy.max(axis=1, initial=0.0)).astype(np.int64)
            walls.append(np.maximum(changed.wall[which], np.minimum(wall, by_instance)))
            completion += int(changed.completion[which].sum())
            least_wall += int(wall.sum())
            least_completion += int(unchanged.completion[which].sum())
            busiest += float(busy.sum(axis=0).max(initial=0.0))
        joined = np.concatenate(walls) if walls else np.empty(0, np.int64)
        return cls(
            walls=joined,
            wall=max(int(joined.sum()), min(least_wall, int(busiest))),
            completion=max(completion, min(least_completion, int(busiest))),
        )
