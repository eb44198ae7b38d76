"""Timelines of single steps for the page: drawn as the report is read, and thinned, so that memory does not grow."""

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
"""Device rows of a timeline."""
MOST_LEVELS = 4
"""Levels of nested ranges of a timeline."""
LEAST_EVENTS = 1500
"""A timeline is not thinned below this many entries."""
_KEPT = 4
"""Timelines are kept until they hold this many times the entries that the page may show: some may not fit in."""
_NAMED = np.array([state not in ("python", "os_wait", "profiler") for state in STATES])


@dataclass(frozen=True)
class StepsToDraw:
    """The steps of one phase on one thread: their numbers in the report, and the order in which they are worth drawing.

    `out` flags the steps that stand out by their wall time; `order` holds places in `instances`.
    """

    label: str
    thread: int
    instances: Ints
    out: Flags
    order: list[int]


def steps_to_draw(instances: Instances) -> list[StepsToDraw]:
    """Return the steps of each phase and thread, in the order of the result's entries."""
    entries, wall = PhaseThreads.of(instances), instances.wall
    found = []
    for _, members in entries.by_label:
        for entry in members:
            numbers = np.flatnonzero(entries.instances_of(entry))
            out = stands_out(wall[numbers])
            label = instances.labels[int(entries.label[entry])]
            order = _worth(wall[numbers], out)
            found.append(StepsToDraw(label, int(entries.thread[entry]), numbers, out, order))
    return found


def _worth(wall: Ints, out: Flags) -> list[int]:
    """Return steps in the order in which they are worth showing: usual, slowest, those that stand out, the rest.

    The rest comes at even distances: any prefix of the order is spread over the whole capture.
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
    """Draws timelines of a report's steps as its pieces come: the steps most worth having, as far as a budget goes."""

    def __init__(self, instances: Instances, events: int) -> None:
        """Plan the timelines; together they may hold `events` entries."""
        self.steps = steps_to_draw(instances)
        self._events = events
        worth = min(sum(len(steps.order) for steps in self.steps), 3 * len(self.steps))
        self._share = max(events // max(worth, 1), LEAST_EVENTS)
        self._rank: dict[int, tuple[int, int]] = {}
        for group, steps in enumerate(self.steps):
            for turn, place in enumerate(steps.order):
                self._rank[int(steps.instances[place])] = (turn, group)
        self._streams = StreamNumbers()
        self._drawn: dict[tuple[int, int], StepTimeline] = {}
        self._kept_events, self._least_worth = 0, (1 << 62, 0)

    def add(self, piece: Piece) -> None:
        """Draw the steps of a piece that may find a place."""
        drawer: _Drawer | None = None
        rows = device_rows(piece.columns, self._streams)
        for place, instance in enumerate(piece.index.tolist()):
            rank = self._rank.get(instance)
            if rank is None or rank > self._least_worth:
                continue
            drawer = drawer or _Drawer(piece.columns, rows)
            self._drawn[rank] = line = drawer.draw(place, self._share)
            self._kept_events += line.events
            self._forget()

    def _forget(self) -> None:
        """Let the least worthy timelines go where there are far more than fit in; each phase keeps its first."""
        while self._kept_events > _KEPT * self._events:
            last = max(self._drawn)
            if last[0] == 0:
                return
            self._kept_events -= self._drawn.pop(last).events
            self._least_worth = last

    def lines(self, names: ChartNames) -> Iterator[tuple[int, int, Json]]:
        """Yield (group, place of the step in it, timeline) while the budget lasts.

        The most telling step of every phase comes first, then the next of each.
        """
        left, last_turn = self._events, 0
        for (turn, group), line in sorted(self._drawn.items()):
            if turn != last_turn and left < LEAST_EVENTS:
                return
            last_turn = turn
            data = line.to_json(names)
            # every phase has one timeline at least, however many phases there are
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
        """Return the timeline of an instance, with about `most` entries."""
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
        held = np.flatnonzero((ranges.start[part] < stop) & (ranges.end[part] > origin)) + part.start
        container = self.nesting.container
        level = np.zeros(len(ranges), np.int64)
        found = []
        for depth in range(MOST_LEVELS):
            chosen = held[level[held] == depth]
            if not len(chosen):
                break
            # ranges that overlap without nesting: the one that began first is drawn
            apart = np.r_[True, ranges.start[chosen][1:] >= np.maximum.accumulate(ranges.end[chosen])[:-1]]
            shown = chosen[apart]
            start, end = np.maximum(ranges.start[shown], origin), np.minimum(ranges.end[shown], stop)
            entries = thin(start, end, np.zeros(len(shown), np.int64), max(most // MOST_LEVELS, 100))
            index = np.where(entries.index >= 0, shown[np.maximum(entries.index, 0)], -1)
            name = NamedColumn.of(np.where(index >= 0, ranges.name[index], -1), ranges.names)
            labels = NamedColumn(name.code, tuple(map(range_label, name.texts)))
            found.append(RangeRow(_gaps(entries, origin), entries, labels))
            inner = held[(container[held] >= 0) & (level[container[held]] == depth)]
            inner = inner[np.isin(container[inner], chosen)]
            level[inner] = depth + 1
        return found

    def _device(self, instance: int, origin: int, stop: int, most: int) -> tuple[list[DeviceOpsRow], int]:
        """Return the device rows that show something in [origin, stop), and how many more there are."""
        ops, rows = self.columns.trace.ops, self.rows
        low = int(np.searchsorted(self.op_start, origin - self.longest_op))
        high = int(np.searchsorted(self.op_start, stop))
        seen = self.op_order[low:high]
        seen = seen[ops.end[seen] > origin]
        process = int(self.columns.instances.thread[instance]) & PROCESS_MASK
        used = np.unique(ops.device_global[self.columns.op_instance == instance])
        if len(used):
            seen = seen[np.isin(ops.device_global[seen], used)]
        present = np.unique(rows.row[seen]).tolist()
        present.sort(key=lambda row: (int(rows.process[row]) != process, row))
        hidden = len(present) - MOST_ROWS if len(present) > MOST_ROWS else 0
        present = present[:MOST_ROWS]
        several = len({int(rows.process[row]) for row in present}) > 1
        drawn = []
        for row in present:
            of_row = seen[rows.row[seen] == row]
            start, end = np.maximum(ops.start[of_row], origin), np.minimum(ops.end[of_row], stop)
            device = thin(start, end, ops.kind[of_row], max(most // len(present), 200))
            index = np.where(device.index >= 0, of_row[np.maximum(device.index, 0)], -1)
            launch = self.columns.launches.of_op[index]
            begun = self.columns.launches.start[launch] if len(self.columns.launches) else launch
            known = (index >= 0) & (launch >= 0)
            drawn.append(
                DeviceOpsRow(
                    title=rows.title(row) + (f", process {pid(int(rows.process[row]))}" if several else ""),
                    gap=_gaps(device, origin),
                    entries=device,
                    name=NamedColumn.of(np.where(index >= 0, ops.name[index], -1), ops.names),
                    waited=np.where(known, ops.start[index] - begun, -1),
                )
            )
        return drawn, hidden


def _gaps(entries: Thinned, origin: int) -> Ints:
    """Return the time before each entry, since the entry before it or since `origin`."""
    return entries.start - np.r_[origin, (entries.start + entries.duration)[:-1]]
