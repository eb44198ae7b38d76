"""Collects the contents of a timeline trace from the pieces of a report, in temporary files of one column each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import row_codes
from taxbreak_nsys.arrays.intervals import NEVER, Flags, Ints, union
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, KERNEL_LAUNCH
from taxbreak_nsys.model.trace_columns import KERNEL, PROCESS_MASK, runs
from taxbreak_nsys.output.timeline import Details, LaneAllocator, StreamNumbers, timeline_details
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.totals.warning_facts import Piece

PART = 100_000
"""Rows that are read from the files at a time, because writers turn rows into Python objects."""
_SLACK_NS = 10_000_000
"""Clock skew up to which counters stay exact: device work may seem to start this long before its launch."""
_NAME_TUPLES = 3
MOST_LEVELS = 256
"""Most levels of nested ranges per thread; a viewer shows each level as a track."""
RANGE_KINDS = ("ranges", "operators")
"""NVTX ranges of framework operators have separate tracks from all other NVTX ranges."""

DeviceRow = tuple[int, int, int, int]
"""(process, device, stream code, lane) of a track of device operations."""


class ColumnFiles:
    """Columns of int64 that grow piece by piece, one file per column in a temporary folder.

    The folder is deleted together with this object.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="taxbreak-nsys-")
        self._columns: dict[str, tuple[str, ...]] = {}

    def append(self, key: str, **columns: Ints) -> None:
        """Append rows to the columns of a key; the column names must be the same in each call."""
        self._columns[key] = tuple(columns)
        for name, values in columns.items():
            with self._path(key, name).open("ab") as file:
                np.ascontiguousarray(values, np.int64).tofile(file)

    def parts(self, key: str) -> Iterator[dict[str, Ints]]:
        """Yield the columns of a key in parts of at most PART rows; no part if the key has no rows."""
        names = self._columns.get(key, ())
        if not names:
            return
        rows = self._path(key, names[0]).stat().st_size // 8
        for low in range(0, rows, PART):
            yield {name: np.fromfile(self._path(key, name), np.int64, PART, offset=8 * low) for name in names}

    def _path(self, key: str, name: str) -> Path:
        return Path(self._folder.name) / f"{key}.{name}"


class TraceSpool:
    """Collects host intervals by thread, operations by device row, NVTX ranges, and the input of the counters.

    `low` is the earliest start of a device operation, `bounds` the first start and last end of the kernels and graphs
    of each process, ns. Launches are numbered over the whole report; arrows have the number of their launch.
    """

    def __init__(self, instances: Instances) -> None:
        self.instances = instances
        self.files = ColumnFiles()
        self.rows: dict[DeviceRow, int] = {}
        """The number of each device row's stream."""
        self.devices: set[tuple[int, int]] = set()
        """(process, device) of all kernels and graphs."""
        self.bounds: dict[int, tuple[int, int]] = {}
        self.processes: set[int] = set()
        self.low: int | None = None
        self.op_names: tuple[str, ...] = ()
        self.detail_names: tuple[str, ...] = ()
        self._lengths = (0, 0)
        self._streams, self._lanes = StreamNumbers(), LaneAllocator()
        self._busy: dict[str, tuple[Ints, Ints]] = {}
        self._counted_until: dict[str, int] = {}
        self._launches = 0
        self.range_names: tuple[str, ...] = ()
        self.range_tracks: dict[int, dict[str, set[int]]] = {}
        """The nesting levels of the NVTX ranges, by thread and kind (RANGE_KINDS)."""
        self._levels = {kind: LaneAllocator() for kind in RANGE_KINDS}
        self._ranges_until = NEVER
        self.deeper_ranges = 0
        """The number of ranges that are left out because they are nested deeper than MOST_LEVELS."""

    def add(self, piece: Piece) -> None:
        """Add the next piece; pieces come in order of time."""
        columns = piece.columns
        details = timeline_details(columns)
        source = _arrow_sources(details, len(columns.launches))
        self._add_host(piece, details, source)
        self._add_device(piece, source)
        self._add_launches(piece)
        self._add_busy(piece)
        self._add_ranges(columns)
        trace = columns.trace
        self.op_names, self.detail_names = trace.ops.names, details.names
        self._lengths = (len(trace.ops.names), len(trace.api.names))
        self._launches += len(columns.launches)

    def _add_host(self, piece: Piece, details: Details, source: Ints) -> None:
        intervals, trace = piece.columns.intervals, piece.columns.trace
        leaves = np.zeros(len(intervals.start), np.int64)
        leaves[source[source >= 0]] = np.flatnonzero(source >= 0) + 1 + self._launches
        name = _portable(details.name, len(trace.ops.names), len(trace.api.names))
        for low, high in runs(intervals.thread):
            part = slice(low, high)
            self.files.append(
                f"states-{intervals.thread[low]}",
                start=intervals.start[part],
                end=intervals.end[part],
                state=intervals.state[part],
                instance=piece.index[intervals.instance[part]],
                exposed=intervals.exposed[part],
                name=name[part],
                kernel=details.kernel[part],
                leaves=leaves[part],
            )

    def _add_ranges(self, columns: Measured) -> None:
        """Keep the NVTX ranges that no earlier piece had, with their nesting levels from the outermost inwards."""
        ranges = columns.trace.ranges
        self.range_names = ranges.names
        fresh = ranges.start > self._ranges_until
        if not fresh.any():
            return
        for kind, is_operator in zip(RANGE_KINDS, (False, True), strict=True):
            chosen = np.flatnonzero(fresh & (ranges.is_operator == is_operator))
            thread, start, end = ranges.thread[chosen], ranges.start[chosen], ranges.end[chosen]
            # of ranges with equal start, the longest is the outermost
            level = self._levels[kind].lanes(thread, start, end, longest_first=True)
            self.deeper_ranges += int(np.sum(level >= MOST_LEVELS))
            name = ranges.name[chosen]
            track, sample = row_codes(thread, np.minimum(level, MOST_LEVELS))
            for number, row in enumerate(sample.tolist()):
                track_thread, track_level = int(thread[row]), int(level[row])
                if track_level >= MOST_LEVELS:
                    continue
                self.range_tracks.setdefault(track_thread, {}).setdefault(kind, set()).add(track_level)
                on_track = np.flatnonzero(track == number)
                self.files.append(
                    range_key(track_thread, kind, track_level),
                    start=start[on_track],
                    end=end[on_track],
                    name=name[on_track],
                )
        self._ranges_until = int(ranges.start.max())

    def final_names(self, name: Ints) -> Ints:
        """Return codes into `detail_names` for the column `name` of host intervals."""
        ops, api = self._lengths
        base = np.array([0, ops, ops + api], np.int64)
        return np.where(name < 0, -1, name // _NAME_TUPLES + base[name % _NAME_TUPLES])

    def _add_device(self, piece: Piece, source: Ints) -> None:
        """Keep the operations of the piece's own launches; an arrow ends at the first operation of each launch."""
        columns = piece.columns
        ops, launches = columns.trace.ops, columns.launches
        if len(ops):
            self.low = min(int(ops.start.min()), self.low if self.low is not None else int(ops.start.min()))
            self.processes |= set(np.unique(ops.process).tolist())
        own = np.flatnonzero(piece.own_ops)
        own = own[np.argsort(ops.start[own], kind="stable")]
        launch = launches.of_op[own]
        arrives = np.zeros(len(own), np.int64)
        joined = np.flatnonzero(launch >= 0)
        number, first = np.unique(launch[joined], return_index=True)
        arrives[joined[first]] = np.where(source[number] >= 0, number + 1 + self._launches, 0)
        instance = columns.op_instance[own]
        labels = columns.instances.label
        label = np.where(instance >= 0, labels[np.maximum(instance, 0)], -1) if len(labels) else instance
        launch_start = launches.start[np.maximum(launch, 0)] if len(launches) else launch
        kernel = ops.kind[own] == KERNEL
        values = {
            "start": ops.start[own],
            "end": ops.end[own],
            "name": np.where(kernel, ops.name[own], -1 - ops.kind[own]),
            "label": label,
            "after_launch": np.where(launch >= 0, ops.start[own] - launch_start, -1),
            "bytes": np.where(kernel, -1, ops.bytes[own]),
            "arrives": arrives,
        }
        lane = self._lanes.lanes(ops.stream[own], ops.start[own], ops.end[own])
        places = ops.process[own], ops.device[own], ops.stream[own], lane
        row, sample = row_codes(*places)
        # streams are numbered in the order of their codes
        keys = zip(*(place[sample].tolist() for place in places), strict=True)
        for key, code in sorted((key, code) for code, key in enumerate(keys)):
            process, device, stream, _ = key
            self.rows[key] = self._streams.number(process, device, stream)
            chosen = np.flatnonzero(row == code)
            self.files.append(device_key(key), **{name: column[chosen] for name, column in values.items()})

    def _add_launches(self, piece: Piece) -> None:
        """Keep the starts of kernel and graph launches in phases, which the HDBI counter counts."""
        launches = piece.columns.launches
        counted = piece.own & np.isin(launches.kind, (KERNEL_LAUNCH, GRAPH_LAUNCH))
        counted &= piece.columns.launch_instance >= 0
        process = launches.thread & PROCESS_MASK
        for key in np.unique(process[counted]).tolist():
            self.files.append(f"launches-{key}", start=launches.start[counted & (process == key)])

    def _add_busy(self, piece: Piece) -> None:
        """Keep the busy intervals of each device by process: of all its work, and of its launches in phases."""
        columns = piece.columns
        ops = columns.trace.ops
        computing = piece.own_ops & ops.computes
        _, sample = row_codes(ops.process[computing], ops.device[computing])
        pairs = zip(ops.process[computing][sample].tolist(), ops.device[computing][sample].tolist(), strict=True)
        for process, device in sorted(pairs):
            on_device = computing & (ops.process == process) & (ops.device == device)
            self.devices.add((process, device))
            low, high = int(ops.start[on_device].min()), int(ops.end[on_device].max())
            known = self.bounds.get(process, (low, high))
            self.bounds[process] = (min(low, known[0]), max(high, known[1]))
            self._merge_busy(busy_key(process, device), columns, on_device)
            in_phase = on_device & (columns.op_instance >= 0)
            self._merge_busy(busy_key(process, device, in_phase=True), columns, in_phase)
        for key in self._busy:
            self._write_busy(key, None if piece.settled is None else piece.settled - _SLACK_NS)

    def _merge_busy(self, key: str, columns: Measured, chosen: Flags) -> None:
        ops = columns.trace.ops
        start, end = ops.start[chosen], ops.end[chosen]
        # with clock skew an operation may reach back into time that is already written: cut that part off
        start = np.maximum(start, self._counted_until.get(key, NEVER))
        pending = self._busy.get(key)
        if pending is not None:
            start, end = np.r_[pending[0], start], np.r_[pending[1], end]
        self._busy[key] = union(start, end)

    def _write_busy(self, key: str, moment: int | None) -> None:
        """Write the intervals that end before `moment` (None: all) to the files; the rest may still grow."""
        start, end = self._busy[key]
        done = len(start) if moment is None else int(np.searchsorted(end, moment, side="left"))
        if done:
            self.files.append(key, start=start[:done], end=end[:done])
            self._counted_until[key] = int(end[done - 1])
            self._busy[key] = start[done:], end[done:]


def device_key(row: DeviceRow) -> str:
    """Return the key of a device row's operations."""
    return "device-" + "-".join(map(str, row))


def range_key(thread: int, kind: str, level: int) -> str:
    """Return the key of a level of nested ranges of a thread; `kind` is one of RANGE_KINDS."""
    return f"{kind}-{thread}-{level}"


def busy_key(process: int, device: int, *, in_phase: bool = False) -> str:
    """Return the key of the intervals in which a device was busy for a process, or only for its launches in phases."""
    return f"busy-{process}-{device}-{int(in_phase)}"


def _portable(code: Ints, ops: int, api: int) -> Ints:
    """Return codes that encode tuple and index, so that they stay valid while the three name tuples grow.

    The tuples are the names of operations, API calls and ranges; `ops` and `api` are the present lengths of two.
    """
    kind = (code >= ops).astype(np.int64) + (code >= ops + api)
    base = np.array([0, ops, ops + api], np.int64)
    return np.where(code < 0, -1, (code - base[kind]) * _NAME_TUPLES + kind)


def _arrow_sources(details: Details, launches: int) -> Ints:
    """Return for each launch the first host interval inside it, where its arrow starts; -1 if there is none."""
    source = np.full(launches, -1, np.int64)
    inside = np.flatnonzero(details.launch >= 0)
    launch, first = np.unique(details.launch[inside], return_index=True)
    source[launch] = inside[first]
    return source
