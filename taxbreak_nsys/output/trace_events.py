"""A result as the events of a timeline viewer: tracks, slices, arrows and counters, for the writers to spell.

The order of what `walk` yields is that of the viewer: a process, its threads (phases, layers, states), its device
streams, its counters. Times are integer ns of the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Flags, Ints, begins, union
from taxbreak_nsys.measure.device_time import unmeasured
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.launches import GRAPH_LAUNCH, KERNEL_LAUNCH
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import KERNEL, PROCESS_MASK, pid, runs, tid
from taxbreak_nsys.output.layer_stack import LAYER_OF_STATE, TITLES
from taxbreak_nsys.output.timeline import Details, TimelineRows, device_rows, lanes, step_numbers, timeline_details
from taxbreak_nsys.result import Result

WINDOW_NS = 10_000_000
MOST_SAMPLES = 20_000
"""Values of one counter; longer captures are sampled at larger distances."""
_PART = 100_000
_KINDS = ("kernel", "copy", "set", "graph")
_LAYERS = tuple(dict.fromkeys(LAYER_OF_STATE[state] for state in STATES))


@dataclass(frozen=True)
class Track:
    """A row of the viewer; `parent` is another track's key, `pid` its process, `unit` is set for a counter."""

    key: int
    name: str
    parent: int | None
    pid: int
    unit: str | None = None


@dataclass(frozen=True)
class Slices:
    """Slices of one track, in order of start, that do not overlap; columns of one length.

    `name` is a code into `names`; `texts` are further columns of codes (-1: none) with their strings, `numbers`
    further columns of integers (negative: none). `leaves` and `arrives` are arrow numbers, 0 for none.
    """

    track: int
    category: str
    start: Ints
    end: Ints
    name: Ints
    names: Sequence[str]
    texts: Mapping[str, tuple[Ints, Sequence[str]]] = field(default_factory=dict)
    numbers: Mapping[str, Ints] = field(default_factory=dict)
    leaves: Ints | None = None
    arrives: Ints | None = None

    def parts(self) -> Iterator[Slices]:
        """Yield the slices in parts of bounded length: a writer turns them into Python objects."""
        for low in range(0, len(self.start), _PART):
            part = slice(low, low + _PART)
            yield Slices(
                self.track, self.category, self.start[part], self.end[part], self.name[part], self.names,
                {key: (codes[part], strings) for key, (codes, strings) in self.texts.items()},
                {key: column[part] for key, column in self.numbers.items()},
                None if self.leaves is None else self.leaves[part],
                None if self.arrives is None else self.arrives[part],
            )  # fmt: skip


@dataclass(frozen=True)
class TraceSamples:
    """Values of a counter track at times."""

    track: int
    time: Ints
    value: np.ndarray


Event = Track | Slices | TraceSamples


def walk(result: Result, window: int = WINDOW_NS) -> Iterator[Event]:
    """Yield the tracks and events of a result; `window` (ns) is what a counter's value looks back on."""
    columns = result.columns
    details = timeline_details(columns)
    arrow = _arrows(details, len(columns.launches))
    keys = iter(range(1, 2**40))
    rows = device_rows(columns)
    processes = np.unique(np.r_[columns.instances.thread & PROCESS_MASK, columns.trace.ops.process]).tolist()
    for process in processes:
        number = pid(process)
        top = Track(next(keys), f"process {number}", None, number)
        yield top
        threads = np.unique(columns.instances.thread[(columns.instances.thread & PROCESS_MASK) == process])
        for thread in threads.tolist():
            yield from _thread(result, details, arrow, thread, top, keys)
        yield from _device(columns, rows, process, top, keys, arrow)
        yield from _counters(result, process, top, keys, window)


def _arrows(details: Details, launches: int) -> Ints:
    """Return for each launch the host interval that its arrow leaves from, the first inside it; -1 for none."""
    source = np.full(launches, -1, np.int64)
    inside = np.flatnonzero(details.launch >= 0)
    launch, first = np.unique(details.launch[inside], return_index=True)
    source[launch] = inside[first]
    return source


def _thread(
    result: Result, details: Details, source: Ints, thread: int, top: Track, keys: Iterator[int]
) -> Iterator[Event]:
    columns = result.columns
    instances, intervals = columns.instances, columns.intervals
    group = Track(next(keys), f"thread {tid(thread)}", top.key, top.pid)
    yield group
    mine = np.flatnonzero(instances.thread == thread)
    lane = lanes(np.zeros(len(mine), np.int64), instances.start[mine], instances.end[mine])
    missing, reason = columns.steps.unmeasured, _reason(result)
    step = step_numbers(instances)
    # grouped once: ranges may be nested thousands deep, and each depth is a track
    order = np.argsort(lane, kind="stable")
    for number, rows in enumerate(np.split(mine[order], np.flatnonzero(np.diff(lane[order])) + 1)):
        track = Track(next(keys), "phases" if not number else f"phases (inner {number})", group.key, top.pid)
        yield track
        yield Slices(
            track.key, "phase", instances.start[rows], instances.end[rows],
            instances.label[rows], instances.labels,
            texts={"device time": (np.where(missing[rows], 0, -1), (reason,))},
            numbers={"step": step[rows], "wall_ns": instances.wall[rows]},
        )  # fmt: skip
    low, high = np.searchsorted(intervals.thread, [thread, thread + 1])
    part = slice(int(low), int(high))
    yield from _layers(result, part, thread, group, keys)
    track = Track(next(keys), "states", group.key, top.pid)
    yield track
    leaves = np.zeros(len(intervals.start), np.int64)
    leaves[source[source >= 0]] = np.flatnonzero(source >= 0) + 1
    unknown = columns.steps.unmeasured[intervals.instance[part]]
    yield Slices(
        track.key, "state", intervals.start[part], intervals.end[part], intervals.state[part], STATES,
        texts={"in": (details.name[part], details.names), "kernel": (details.kernel[part], details.names)},
        numbers={"exposed_ns": np.where(unknown, -1, intervals.exposed[part])},
        leaves=leaves[part],
    )  # fmt: skip


def _reason(result: Result) -> str:
    reasons = [entry.taxbreak.hdbi_reason for entry in result.entries if entry.launches.unmeasured_graph]
    return f"not measured: {reasons[0]}" if reasons else ""


def _layers(result: Result, part: slice, thread: int, group: Track, keys: Iterator[int]) -> Iterator[Event]:
    """Yield the host's layers: neighbouring states of one layer as one slice."""
    intervals, instances = result.columns.intervals, result.columns.instances
    start, end, instance = intervals.start[part], intervals.end[part], intervals.instance[part]
    if not len(start):
        return
    of_state = np.array([_LAYERS.index(LAYER_OF_STATE[state]) for state in STATES])
    layer = of_state[intervals.state[part]]
    both = {
        instances.labels.index(entry.phase)
        for entry in result.entries
        if entry.taxbreak.ft_includes_library and (entry.process, entry.thread) == (pid(thread), tid(thread))
    }
    not_told = np.isin(instances.label[instance], sorted(both))
    merged = np.isin(layer, (_LAYERS.index("framework"), _LAYERS.index("library")))
    layer = np.where(not_told & merged, len(_LAYERS), layer)
    new = (layer[1:] != layer[:-1]) | (instance[1:] != instance[:-1]) | (start[1:] != end[:-1])
    first = begins(new)
    last = np.r_[first[1:] - 1, len(start) - 1]
    track = Track(next(keys), "layers", group.key, group.pid)
    yield track
    names = tuple(TITLES[key] for key in (*_LAYERS, "framework_library"))
    yield Slices(track.key, "layer", start[first], end[last], layer[first], names)


def _device(
    columns: Measured, rows: TimelineRows, process: int, top: Track, keys: Iterator[int], source: Ints
) -> Iterator[Event]:
    """Yield the device's streams of a process; an arrow comes to the first operation of each launch."""
    ops, launches = columns.trace.ops, columns.launches
    if not len(ops):
        return
    name = np.where(ops.kind == KERNEL, ops.name, len(ops.names) + ops.kind)
    names = (*ops.names, *_KINDS)
    arrives = np.zeros(len(ops), np.int64)
    order = np.argsort(ops.start, kind="stable")
    order = order[launches.of_op[order] >= 0]
    launch, first = np.unique(launches.of_op[order], return_index=True)
    arrives[order[first]] = np.where(source[launch] >= 0, launch + 1, 0)
    for row in np.flatnonzero(rows.process == process).tolist():
        mine = np.flatnonzero(rows.row == row)
        mine = mine[np.argsort(ops.start[mine], kind="stable")]
        track = Track(next(keys), rows.title(row), top.key, top.pid)
        yield track
        of = columns.op_instance[mine]
        label = np.where(of >= 0, columns.instances.label[np.maximum(of, 0)], -1)
        begun = launches.start[np.maximum(launches.of_op[mine], 0)]
        waited = np.where(launches.of_op[mine] >= 0, ops.start[mine] - begun, -1)
        yield Slices(
            track.key, "device", ops.start[mine], ops.end[mine], name[mine], names,
            texts={"phase": (label, columns.instances.labels)},
            numbers={"after_launch_ns": waited, "bytes": np.where(ops.kind[mine] == KERNEL, -1, ops.bytes[mine])},
            arrives=arrives[mine],
        )  # fmt: skip


def _counters(result: Result, process: int, top: Track, keys: Iterator[int], window: int) -> Iterator[Event]:
    """Yield how active each device is and HDBI, over the window before each moment.

    A window that touches a step whose device time was not measured has no value, nor has one without host
    and device time.
    """
    columns = result.columns
    ops = columns.trace.ops
    mine = (ops.process == process) & ops.computes
    threads = (columns.instances.thread & PROCESS_MASK) == process
    if not mine.any() or not threads.any():
        return
    low = min(int(ops.start[mine].min()), int(columns.instances.start[threads].min()))
    high = max(int(ops.end[mine].max()), int(columns.instances.end[threads].max()))
    distance = max(window // 4, (high - low) // MOST_SAMPLES, 1)
    time = np.arange(low + window, high + distance, distance, dtype=np.int64)
    unknown = threads & unmeasured(columns.launches, columns.launch_instance, len(columns.instances))
    missing = Coverage.of(union(columns.instances.start[unknown], columns.instances.end[unknown]))
    time = time[missing.within(time - window, time) == 0]
    if not len(time):
        return
    span = f"over {window / 1e6:g} ms"
    in_phase = np.zeros(len(time), np.int64)
    for device in np.unique(ops.device[mine]).tolist():
        of = mine & (ops.device == device)
        active = Coverage.of(union(ops.start[of], ops.end[of])).within(time - window, time)
        track = Track(next(keys), f"GPU {device} active {span}", top.key, top.pid, "%")
        yield track
        yield TraceSamples(track.key, time, 100 * active / window)
        of &= columns.op_instance >= 0
        in_phase += Coverage.of(union(ops.start[of], ops.end[of])).within(time - window, time)
    host = _orchestration(columns, process, time, window, result.t_sys_ns)
    known = in_phase + host > 0
    track = Track(next(keys), f"HDBI {span}", top.key, top.pid, "")
    yield track
    yield TraceSamples(track.key, time[known], in_phase[known] / (in_phase + host)[known])


def _orchestration(columns: Measured, process: int, time: Ints, window: int, t_sys_ns: int) -> Ints:
    """Return T_Orchestration of a process in the window before each moment, ns."""
    intervals, launches = columns.intervals, columns.launches
    states = [STATES.index(state) for state in (*FRAMEWORK_STATES, "library")]
    chosen = np.isin(intervals.state, states) & ((intervals.thread & PROCESS_MASK) == process)
    total = np.zeros(len(time), np.int64)
    for low, high in runs(intervals.thread):
        part: Flags = chosen[low:high]
        busy = union(intervals.start[low:high][part], intervals.end[low:high][part])
        total += Coverage.of(busy).within(time - window, time)
    counted = np.isin(launches.kind, (KERNEL_LAUNCH, GRAPH_LAUNCH)) & (columns.launch_instance >= 0)
    begun = np.sort(launches.start[counted & ((launches.thread & PROCESS_MASK) == process)])
    return total + t_sys_ns * (np.searchsorted(begun, time) - np.searchsorted(begun, time - window))
