"""The part of a report that is replayed: the whole of a small report, stretches of each thread of a large one.

The verdict and `whatif` replay the same part. Pieces of a report are added in the order of time, and the choice does
not depend on how the report was cut into pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, Intervals, Ints, percentile, union
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.replay_columns import ReplayColumns, ReplayPart, join_columns, piece_columns
from taxbreak_nsys.model.assumptions import Assumptions
from taxbreak_nsys.model.event_waits import EventWaits
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.replay.event_records import with_records
from taxbreak_nsys.replay.typical_delays import Gaps
from taxbreak_nsys.totals.warning_facts import Piece

WHOLE_LAUNCHES = 40_000
"""A report with at most this number of launches is replayed whole; the stretches of a larger one share the number."""
LEAST_LAUNCHES = 1_000
"""The minimum budget of launches for each stretch, for reports with many phases."""
INSTANCES_BEFORE = 2
"""A stretch starts this number of instances before the instance of median wall time, to include their backlog."""


@dataclass
class _Stretch:
    """Instances of one thread from `first`, around `centre`, between `low` and `high`.

    Times are in ns: `until` is the end of the last instance taken, `high` is None while the stretch can grow.
    """

    centre: int
    first: int
    low: int
    launches: int = 0
    until: int | None = None
    high: int | None = None


class Stretches:
    """Chooses the part of a report to replay, and collects its columns."""

    def __init__(self, entries: PhaseThreads, assumptions: Assumptions) -> None:
        """Start a stretch for every phase entry, around its instance of median wall time."""
        self._instances = entries.instances
        self._budget = max(WHOLE_LAUNCHES // max(len(entries), 1), LEAST_LAUNCHES)
        self._gaps = Gaps(assumptions.clock_slack_ns)
        self._parts: list[ReplayColumns] = []
        self._launches = 0
        self._whole = True
        self._by_thread: dict[int, list[_Stretch]] = {}
        for entry in range(len(entries)):
            stretch = self._around_median(np.flatnonzero(entries.instances_of(entry)))
            self._by_thread.setdefault(int(entries.thread[entry]), []).append(stretch)

    def _around_median(self, members: Ints) -> _Stretch:
        instances, wall = self._instances, self._instances.wall[members]
        centre = int(members[np.argmin(np.abs(wall - (percentile(wall, 50) or 0)))])
        first = centre
        while first > max(centre - INSTANCES_BEFORE, 0) and instances.thread[first - 1] == instances.thread[centre]:
            first -= 1
        return _Stretch(centre=centre, first=first, low=int(instances.start[first]))

    def add(self, piece: Piece) -> None:
        """Add a piece: keep its rows that are replayed."""
        columns, index, own, own_ops = piece.columns, piece.index, piece.own, piece.own_ops
        self._gaps.add(columns, own_ops, piece.settled)
        self._grow(columns, index)
        self._launches += int(own.sum())
        spans = None
        if self._launches > WHOLE_LAUNCHES:
            spans = self._open_spans()
            if self._whole:
                self._whole = False
                self._parts = [earlier.within(spans) for earlier in self._parts]
        self._parts.append(piece_columns(columns, self._instances, index, own, own_ops, spans))

    def _grow(self, columns: Measured, index: Ints) -> None:
        """Extend the stretches by the instances of a piece, within their budget of launches."""
        launch_instance = columns.launch_instance
        counts = np.bincount(launch_instance[launch_instance >= 0], minlength=len(index)).tolist()
        for local, instance in enumerate(index.tolist()):
            for stretch in self._by_thread.get(int(self._instances.thread[instance]), ()):
                if stretch.high is None and instance >= stretch.first:
                    self._take(stretch, instance, counts[local], columns, local)

    def _take(self, stretch: _Stretch, instance: int, launches: int, columns: Measured, local: int) -> None:
        instances = self._instances
        if instance < stretch.centre and launches > self._budget // 2:
            # too many launches for an instance that only provides backlog: start after it
            stretch.first, stretch.launches, stretch.until = instance + 1, 0, None
            stretch.low = int(instances.start[instance + 1])
        elif instance == stretch.centre and launches > self._budget:
            start = columns.launches.start[columns.launch_instance == local]
            middle = (launches - self._budget) // 2
            stretch.first = instance
            stretch.low, stretch.high = int(start[middle]), int(start[middle + self._budget])
        elif instance > stretch.centre and stretch.launches + launches > self._budget:
            stretch.high = stretch.until
        else:
            stretch.launches += launches
            stretch.until = max(int(instances.end[instance]), stretch.until or 0)

    @property
    def spans(self) -> Intervals | None:
        """The spans of time that are replayed, as far as is known yet; None: the whole report."""
        return None if self._whole else self._open_spans()

    def _open_spans(self) -> Intervals:
        stretches = [stretch for of_thread in self._by_thread.values() for stretch in of_thread]
        low = np.array([stretch.low for stretch in stretches], np.int64)
        return union(low, np.array([FOREVER if s.high is None else s.high for s in stretches], np.int64))

    def chosen(self, event_waits: EventWaits | None) -> ReplayPart:
        """Return the part to replay; call this after the last piece. `event_waits` are the part's synchronisations."""
        columns = with_records(join_columns(self._parts), event_waits)
        if self._whole:
            return replace(self._gaps.part(columns, None), event_waits=event_waits)
        windows = {}
        for thread, stretches in self._by_thread.items():
            begins = np.array([stretch.low for stretch in stretches], np.int64)
            ends = np.array([s.until if s.high is None else s.high for s in stretches], np.int64)
            windows[thread] = tuple(zip(*(side.tolist() for side in union(begins, ends)), strict=True))
        return replace(self._gaps.part(columns, windows), event_waits=event_waits)
