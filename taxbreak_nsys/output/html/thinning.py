"""Thinning: what is too short to be seen is drawn together, with its time kept to the nanosecond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, begins


@dataclass(frozen=True)
class Thinned:
    """Intervals after thinning; columns of one length.

    `index` is the interval that an entry stands for, -1 where it stands for several; `count` how many. `width`
    is the duration in ns below which intervals were drawn together, 0 where all are there.
    """

    start: Ints
    duration: Ints
    kind: Ints
    index: Ints
    count: Ints
    width: int

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.start)


def thin(start: Ints, end: Ints, kind: Ints, most: int) -> Thinned:
    """Return at most about `most` entries for sorted intervals that do not overlap.

    Neighbours that are shorter than a width and lie in one cell of that width become one entry a kind, in order
    of kind, packed from where the first of them starts: no time is lost, and nothing moves by more than a cell
    and the interval that reaches out of it. The width is about the smallest that is enough.
    """
    count = len(start)
    duration = end - start
    if count <= most:
        return Thinned(start, duration, kind, np.arange(count), np.ones(count, np.int64), 0)
    width = 1024
    span = int(end[-1] - start[0])
    thinned = _together(start, end, duration, kind, width)
    while len(thinned) > most and width <= span:
        width *= 2
        thinned = _together(start, end, duration, kind, width)
    low, high = width // 2, width
    for _ in range(4):
        middle = (low + high) // 2
        finer = _together(start, end, duration, kind, middle)
        if len(finer) <= most:
            thinned, high = finer, middle
        else:
            low = middle
    return thinned


def _together(start: Ints, end: Ints, duration: Ints, kind: Ints, width: int) -> Thinned:
    short = duration < width
    cell = (start - start[0]) // width
    joined = short[1:] & short[:-1] & (cell[1:] == cell[:-1])
    run = np.cumsum(np.r_[True, ~joined]) - 1
    kinds = int(kind.max()) + 1
    key, first, entry = np.unique(run * kinds + kind, return_index=True, return_inverse=True)
    total = np.zeros(len(key), np.int64)
    np.add.at(total, entry, duration)
    count = np.bincount(entry, minlength=len(key)).astype(np.int64)
    of_run = key // kinds
    # entries of a run stand one after another from the run's start
    before = np.cumsum(total) - total
    run_first = np.searchsorted(of_run, of_run, side="left")
    run_start = start[begins(~joined)][of_run]
    packed = run_start + before - before[run_first]
    return Thinned(packed, total, key % kinds, np.where(count == 1, first, -1), count, width)
