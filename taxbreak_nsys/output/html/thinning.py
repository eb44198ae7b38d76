"""Thinning: merges intervals that are too short to be seen, and keeps their total time to the nanosecond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, begins


@dataclass(frozen=True)
class Thinned:
    """Intervals after thinning, as entries; all columns have one value per entry.

    `count` is the number of intervals in an entry, `index` the interval of an entry with one (else -1). Intervals
    shorter than `width` (ns) were merged; 0 if all intervals are kept.
    """

    start: Ints
    duration: Ints
    kind: Ints
    index: Ints
    count: Ints
    width: int

    def __len__(self) -> int:
        return len(self.start)


def thin(start: Ints, end: Ints, kind: Ints, most: int) -> Thinned:
    """Return at most about `most` entries for sorted intervals (ns) that do not overlap.

    Time is divided into cells of one width. Neighbours that are shorter than the width and start in the same cell
    are merged into one entry per kind; these entries follow each other in order of kind, from the start of the first
    interval. So no time is lost, and no interval moves by more than a cell plus the interval that extends beyond it.
    The width is about the smallest that gives few enough entries.
    """
    count = len(start)
    duration = end - start
    if count <= most:
        return Thinned(
            start=start,
            duration=duration,
            kind=kind,
            index=np.arange(count),
            count=np.ones(count, np.int64),
            width=0,
        )
    width = 1024
    span = int(end[-1] - start[0])
    thinned = _merged(start, duration, kind, width)
    while len(thinned) > most and width <= span:
        width *= 2
        thinned = _merged(start, duration, kind, width)
    low, high = width // 2, width
    for _ in range(4):
        middle = (low + high) // 2
        finer = _merged(start, duration, kind, middle)
        if len(finer) <= most:
            thinned, high = finer, middle
        else:
            low = middle
    return thinned


def _merged(start: Ints, duration: Ints, kind: Ints, width: int) -> Thinned:
    short = duration < width
    cell = (start - start[0]) // width
    joined = short[1:] & short[:-1] & (cell[1:] == cell[:-1])
    run = np.cumsum(np.r_[True, ~joined]) - 1
    kinds = int(kind.max()) + 1
    key, first, entry = np.unique(run * kinds + kind, return_index=True, return_inverse=True)
    total = np.zeros(len(key), np.int64)
    np.add.at(total, entry, duration)
    count = np.bincount(entry, minlength=len(key)).astype(np.int64)
    entry_run = key // kinds
    # the entries of a run follow each other without gaps from the run's start
    before = np.cumsum(total) - total
    run_first = np.searchsorted(entry_run, entry_run, side="left")
    run_start = start[begins(~joined)][entry_run]
    return Thinned(
        start=run_start + before - before[run_first],
        duration=total,
        kind=key % kinds,
        index=np.where(count == 1, first, -1),
        count=count,
        width=width,
    )
