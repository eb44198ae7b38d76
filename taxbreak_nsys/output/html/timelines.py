"""Timelines of single steps for the page, drawn and thinned piece by piece, so that memory use stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.measure.host_cells import RangeNesting
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.range_names import range_label
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid, thread_slice
from taxbreak_nsys.output.html.thinning import Thinned, thin
from taxbreak_nsys.output.html.timeline_rows import (
    ChartNames,
    DeviceOpsRow,
    HostRow,
    Json,
    NamedColumn,
    RangeRow,
    StepTimeline,
)
from taxbreak_nsys.output.timeline import (
    Details,
    StreamNumbers,
    TimelineRows,
    device_rows,
    stands_out,
    timeline_details,
)
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.warning_facts import Piece

MOST_ROWS = 8
"""Most device rows of a timeline."""
MOST_LEVELS = 4
"""Most levels of nested ranges of a timeline."""
LEAST_EVENTS = 1500
"""A timeline is not thinned below this number of entries."""
_KEPT_FACTOR = 4
"""Timelines are kept up to this multiple of the entries that the page shows, because not every timeline will fit."""
_NAMED = np.array([state not in ("python", "os_wait", "profiler") for state in STATES])


@dataclass(frozen=True)
class StepsToDraw:
    """The steps of one phase on one thread, and the order in which to draw them.

    `instances` are their numbers in the report, `out` flags outlying wall times, `order` holds places in `instances`.
    """

    label: str
    thread: int
    instances: Ints
    out: Flags
    order: list[int]


def steps_to_draw(instances: Instances) -> list[StepsToDraw]:
    """Return the steps of each phase and thread, in the order of the result's entries."""
    entries, wall = PhaseThreads.of(instances), instances.wall
    steps = []
    for _, members in entries.by_label:
        for entry in members:
            numbers = np.flatnonzero(entries.instances_of(entry))
            out = stands_out(wall[numbers])
            steps.append(
                StepsToDraw(
                    label=instances.labels[int(entries.label[entry])],
                    thread=int(entries.thread[entry]),
                    instances=numbers,
                    out=out,
                    order=_drawing_order(wall[numbers], out),
                )
            )
    return steps


def _drawing_order(wall: Ints, out: Flags) -> list[int]:
    """Return the steps' drawing order: median, slowest, first and fastest step, outlying steps, all others.

    The others come with halved distances each time, so that any prefix of the order spreads over the whole capture.
    """
    by_wall = np.argsort(wall, kind="stable")
    first = [int(by_wall[(len(wall) - 1) // 2]), int(by_wall[-1]), 0, int(by_wall[0])]
    first += np.flatnonzero(out)[np.argsort(-wall[out], kind="stable")].tolist()
    rest: list[int] = []
    stride = 1 << max(len(wall) - 1, 0).bit_length()
    while stride:
        rest += range(0, len(wall), stride)
        stride //= 2
    return list(dict.fromkeys(first + rest))


class TimelineCollector:
    """Draws timelines of a report's steps piece by piece, the first in drawing order, up to `events` entries in all."""

    def __init__(self, instances: Instances, events: int) -> None:
        self.steps = steps_to_draw(instances)
        self._events = events
        expected = min(sum(len(steps.order) for steps in self.steps), 3 * len(self.steps))
        self._share = max(events // max(expected, 1), LEAST_EVENTS)
        self._rank: dict[int, tuple[int, int]] = {}
        for group, steps in enumerate(self.steps):
            for turn, place in enumerate(steps.order):
                self._rank[int(steps.instances[place])] = (turn, group)
        self._streams = StreamNumbers()
        self._drawn: dict[tuple[int, int], StepTimeline] = {}
        self._kept_events, self._rank_limit = 0, (1 << 62, 0)

    def add(self, piece: Piece) -> None:
        """Draw the steps of a piece whose timelines may still fit."""
        drawer: _Drawer | None = None
        rows = device_rows(piece.columns, self._streams)
        for place, instance in enumerate(piece.index.tolist()):
            rank = self._rank.get(instance)
            if rank is None or rank > self._rank_limit:
                continue
            drawer = drawer or _Drawer(piece.columns, rows)
            self._drawn[rank] = line = drawer.draw(place, self._share)
            self._kept_events += line.events
            self._drop_last_ranked()

    def _drop_last_ranked(self) -> None:
        """Drop the timelines last in drawing order while far more are kept than fit; each phase keeps its first."""
        while self._kept_events > _KEPT_FACTOR * self._events:
            last = max(self._drawn)
            if last[0] == 0:
                return
            self._kept_events -= self._drawn.pop(last).events
            self._rank_limit = last

    def lines(self, names: ChartNames) -> Iterator[tuple[int, int, Json]]:
        """Yield (group, place of the step in it, timeline) until `events` entries are used.

        The first step in drawing order of every phase comes first, then the second of every phase, and so on.
        """
        left, last_turn = self._events, 0
        for (turn, group), line in sorted(self._drawn.items()):
            if turn != last_turn and left < LEAST_EVENTS:
                return
            last_turn = turn
            data = line.to_json(names)
            # every phase gets at least one timeline, even beyond the limit
            if turn == 0 or line.events <= left:
                left -= line.events
                yield group, self.steps[group].order[turn], data


class _Drawer:
    """Draws the timelines of one piece's instances."""

    def __init__(self, columns: Measured, rows: TimelineRows) -> None:
        self.columns, self.rows = columns, rows
        self.details: Details = timeline_details(columns)
        self.nesting = RangeNesting.of(columns.trace.ranges)
        self.order = np.argsort(columns.intervals.instance, kind="stable")
        self.by_instance = columns.intervals.instance[self.order]
        ops = columns.trace.ops
        self.op_order = np.argsort(ops.start, kind="stable")
        self.op_start = ops.start[self.op_order]
        self.longest_op = int((ops.end - ops.start).max()) if len(ops) else 0

    def draw(self, instance: int, most: int) -> StepTimeline:
        """Return the timeline of an instance with about `most` entries."""
        instances, intervals = self.columns.instances, self.columns.intervals
        low, high = np.searchsorted(self.by_instance, [instance, instance + 1])
        chosen = self.order[low:high]
        origin, stop = int(instances.start[instance]), int(instances.end[instance])
        host = thin(intervals.start[chosen], intervals.end[chosen], intervals.state[chosen], most * 3 // 4)
        device, hidden = self._device(instance, origin, stop, most // 4)
        ranges = self._ranges(int(instances.thread[instance]), origin, stop, most // 8)
        return StepTimeline(
            start=origin,
            span=stop - origin,
            host=self._host(host, chosen, origin),
            ranges=tuple(ranges),
            device=tuple(device),
            hidden=hidden,
            reason=self._unmeasured(instance),
        )

    def _unmeasured(self, instance: int) -> str | None:
        if not self.columns.steps.unmeasured[instance]:
            return None
        return "a CUDA graph launch of this step has no device row in the report"

    def _host(self, host: Thinned, chosen: Ints, origin: int) -> HostRow:
        index = np.where(host.index >= 0, chosen[np.maximum(host.index, 0)], -1)
        named = np.where(_NAMED[host.kind], index, -1)
        name, kernel = (
            NamedColumn.of(np.where(named >= 0, code[named], -1), self.details.names)
            for code in (self.details.name, self.details.kernel)
        )
        return HostRow(_gaps(host, origin), host, name, kernel)

    def _ranges(self, thread: int, origin: int, stop: int, most: int) -> list[RangeRow]:
        """Return the NVTX ranges of a thread in [origin, stop) by level, outermost first."""
        ranges = self.columns.trace.ranges
        part = thread_slice(ranges.thread, thread)
        overlapping = np.flatnonzero((ranges.start[part] < stop) & (ranges.end[part] > origin)) + part.start
        container = self.nesting.container
        level = np.zeros(len(ranges), np.int64)
        rows = []
        for depth in range(MOST_LEVELS):
            chosen = overlapping[level[overlapping] == depth]
            if not len(chosen):
                break
            # of ranges that overlap without nesting, only the first is drawn
            apart = np.r_[True, ranges.start[chosen][1:] >= np.maximum.accumulate(ranges.end[chosen])[:-1]]
            shown = chosen[apart]
            start, end = np.maximum(ranges.start[shown], origin), np.minimum(ranges.end[shown], stop)
            entries = thin(start, end, np.zeros(len(shown), np.int64), max(most // MOST_LEVELS, 100))
            index = np.where(entries.index >= 0, shown[np.maximum(entries.index, 0)], -1)
            name = NamedColumn.of(np.where(index >= 0, ranges.name[index], -1), ranges.names)
            labels = NamedColumn(name.code, tuple(map(range_label, name.texts)))
            rows.append(RangeRow(_gaps(entries, origin), entries, labels))
            outer = container[overlapping]
            inner = overlapping[(outer >= 0) & (level[outer] == depth)]
            inner = inner[np.isin(container[inner], chosen)]
            level[inner] = depth + 1
        return rows

    def _device(self, instance: int, origin: int, stop: int, most: int) -> tuple[list[DeviceOpsRow], int]:
        """Return the first MOST_ROWS device rows with operations in [origin, stop), and the number of further rows."""
        ops, rows = self.columns.trace.ops, self.rows
        low = int(np.searchsorted(self.op_start, origin - self.longest_op))
        high = int(np.searchsorted(self.op_start, stop))
        visible = self.op_order[low:high]
        visible = visible[ops.end[visible] > origin]
        process = int(self.columns.instances.thread[instance]) & PROCESS_MASK
        used = np.unique(ops.device_global[self.columns.op_instance == instance])
        if len(used):
            visible = visible[np.isin(ops.device_global[visible], used)]
        present = np.unique(rows.row[visible]).tolist()
        present.sort(key=lambda row: (int(rows.process[row]) != process, row))
        hidden = len(present) - MOST_ROWS if len(present) > MOST_ROWS else 0
        present = present[:MOST_ROWS]
        several = len({int(rows.process[row]) for row in present}) > 1
        drawn = []
        for row in present:
            in_row = visible[rows.row[visible] == row]
            start, end = np.maximum(ops.start[in_row], origin), np.minimum(ops.end[in_row], stop)
            device = thin(start, end, ops.kind[in_row], max(most // len(present), 200))
            index = np.where(device.index >= 0, in_row[np.maximum(device.index, 0)], -1)
            launch = self.columns.launches.of_op[index]
            launch_start = self.columns.launches.start[launch] if len(self.columns.launches) else launch
            known = (index >= 0) & (launch >= 0)
            drawn.append(
                DeviceOpsRow(
                    title=rows.title(row) + (f", process {pid(int(rows.process[row]))}" if several else ""),
                    gap=_gaps(device, origin),
                    entries=device,
                    name=NamedColumn.of(np.where(index >= 0, ops.name[index], -1), ops.names),
                    waited=np.where(known, ops.start[index] - launch_start, -1),
                )
            )
        return drawn, hidden


def _gaps(entries: Thinned, origin: int) -> Ints:
    """Return the time before each entry (ns): since the end of the entry before it, for the first since `origin`."""
    return entries.start - np.r_[origin, (entries.start + entries.duration)[:-1]]
