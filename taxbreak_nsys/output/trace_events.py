"""A result as the events of a timeline viewer: tracks, slices, arrows and counters, independent of the file format.

`walk` yields them in the viewer's order: a process, its threads (phases, layers, states), its device streams, its
counters. Times are integer ns of the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, begins
from taxbreak_nsys.measure.step_numbers import step_numbers
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid, tid
from taxbreak_nsys.output.layer_stack import LAYER_OF_STATE, TITLES
from taxbreak_nsys.output.timeline import lanes, row_title
from taxbreak_nsys.output.trace_counters import counters
from taxbreak_nsys.output.trace_spool import MOST_LEVELS, PART, RANGE_KINDS, TraceSpool, device_key, range_key
from taxbreak_nsys.result import Result

WINDOW_NS = 10_000_000
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
    """Slices of one track in order of start, without overlaps; all columns have the same length.

    `name` holds codes into `names`. `texts` are further columns of codes (-1: none) with their strings, `numbers`
    further columns of integers (negative: none). `leaves` and `arrives` are the numbers of the arrows that start and
    end at a slice (0: none).
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
        """Yield the slices in parts of at most PART rows, because writers turn rows into Python objects."""
        for low in range(0, len(self.start), PART):
            part = slice(low, low + PART)
            yield replace(
                self,
                start=self.start[part],
                end=self.end[part],
                name=self.name[part],
                texts={key: (codes[part], strings) for key, (codes, strings) in self.texts.items()},
                numbers={key: column[part] for key, column in self.numbers.items()},
                leaves=None if self.leaves is None else self.leaves[part],
                arrives=None if self.arrives is None else self.arrives[part],
            )


@dataclass(frozen=True)
class TraceSamples:
    """The values of a counter track and their times (ns)."""

    track: int
    time: Ints
    value: np.ndarray


Event = Track | Slices | TraceSamples


def walk(result: Result, spool: TraceSpool, window: int = WINDOW_NS) -> Iterator[Event]:
    """Yield the tracks and events of a result; a counter's value covers the `window` (ns) before its time."""
    instances = result.instances
    keys = iter(range(1, 2**40))
    for process in sorted({*(instances.thread & PROCESS_MASK).tolist(), *spool.processes}):
        top = Track(key=next(keys), name=_process_name(result, process), parent=None, pid=pid(process))
        yield top
        for thread in np.unique(instances.thread[(instances.thread & PROCESS_MASK) == process]).tolist():
            yield from _thread(result, spool, thread, top, keys)
        yield from _device(result, spool, process, top, keys)
        for counter in counters(result, spool, process, window):
            track = _child(top, keys, counter.title, counter.unit)
            yield track
            yield TraceSamples(track.key, counter.time, counter.value)
    yield from _omitted_ranges(spool, keys)


def _child(parent: Track, keys: Iterator[int], name: str, unit: str | None = None) -> Track:
    return Track(key=next(keys), name=name, parent=parent.key, pid=parent.pid, unit=unit)


def _thread(result: Result, spool: TraceSpool, thread: int, top: Track, keys: Iterator[int]) -> Iterator[Event]:
    instances = result.instances
    name = result.thread_names.get(thread)
    group = _child(top, keys, f"{name} (thread {tid(thread)})" if name else f"thread {tid(thread)}")
    yield group
    chosen = np.flatnonzero(instances.thread == thread)
    lane = lanes(np.zeros(len(chosen), np.int64), instances.start[chosen], instances.end[chosen])
    # one sort for all lanes: ranges may be nested thousands deep, and each depth is a track
    order = np.argsort(lane, kind="stable")
    steps, reason = step_numbers(instances), _reason(result)
    for number, rows in enumerate(np.split(chosen[order], np.flatnonzero(np.diff(lane[order])) + 1)):
        track = _child(group, keys, "phases" if not number else f"phases (inner {number})")
        yield track
        yield from _phases(result, rows, track, steps[rows], reason).parts()
    track = _child(group, keys, "layers")
    yield track
    yield from _layers(result, spool, thread, track)
    yield from _ranges(spool, thread, group, keys)
    track = _child(group, keys, "states")
    yield track
    for part in spool.files.parts(f"states-{thread}"):
        unknown = result.step_sums.unmeasured[part["instance"]]
        yield Slices(
            track=track.key,
            category="state",
            start=part["start"],
            end=part["end"],
            name=part["state"],
            names=STATES,
            texts={
                "in": (spool.final_names(part["name"]), spool.detail_names),
                "kernel": (part["kernel"], spool.detail_names),
            },
            numbers={"exposed_ns": np.where(unknown, -1, part["exposed"])},
            leaves=part["leaves"],
        )


def _omitted_ranges(spool: TraceSpool, keys: Iterator[int]) -> Iterator[Track]:
    """Yield a track whose name says how many ranges the trace leaves out; no track if it has all of them."""
    if spool.deeper_ranges:
        title = f"{spool.deeper_ranges:,} ranges deeper than {MOST_LEVELS} levels are left out"
        yield Track(key=next(keys), name=title, parent=None, pid=0)


def _process_name(result: Result, process: int) -> str:
    """Return a process's title: its rank if it has exactly one, the name of its main thread, its process id."""
    name = result.thread_names.get(process | pid(process))
    ranks = {
        rank
        for group in result.instances.groups
        for rank, thread in enumerate(group.threads)
        if thread & PROCESS_MASK == process
    }
    words = [f"rank {min(ranks)}"] if len(ranks) == 1 else []
    return ": ".join([*words, f"{name} (process {pid(process)})" if name else f"process {pid(process)}"])


def _ranges(spool: TraceSpool, thread: int, group: Track, keys: Iterator[int]) -> Iterator[Event]:
    """Yield the NVTX ranges of a thread, one track per nesting level; operators have separate tracks."""
    for kind in RANGE_KINDS:
        for level in sorted(spool.range_tracks.get(thread, {}).get(kind, ())):
            title = "NVTX ranges" if kind == "ranges" else "operators"
            track = _child(group, keys, f"{title} (level {level + 1})" if level else title)
            yield track
            for part in spool.files.parts(range_key(thread, kind, level)):
                yield Slices(
                    track=track.key,
                    category="nvtx" if kind == "ranges" else "operator",
                    start=part["start"],
                    end=part["end"],
                    name=part["name"],
                    names=spool.range_names,
                )


def _phases(result: Result, chosen: Ints, track: Track, steps: Ints, reason: str) -> Slices:
    """Return the slices of the chosen phase instances; `steps` are their step numbers within their phase."""
    instances = result.instances
    missing = result.step_sums.unmeasured[chosen]
    return Slices(
        track=track.key,
        category="phase",
        start=instances.start[chosen],
        end=instances.end[chosen],
        name=instances.label[chosen],
        names=instances.labels,
        texts={"device time": (np.where(missing, 0, -1), (reason,))},
        numbers={"step": steps, "wall_ns": instances.wall[chosen]},
    )


def _reason(result: Result) -> str:
    reasons = [entry.taxbreak.hdbi_reason for entry in result.entries if entry.launches.unmeasured_graph]
    return f"not measured: {reasons[0]}" if reasons else ""


def _layers(result: Result, spool: TraceSpool, thread: int, track: Track) -> Iterator[Slices]:
    """Yield the host's layers, adjacent states of the same layer merged into one slice."""
    instances = result.instances
    layer_codes = np.array([_LAYERS.index(LAYER_OF_STATE[state]) for state in STATES])
    inseparable_labels = {
        instances.labels.index(entry.phase)
        for entry in result.entries
        if entry.taxbreak.ft_includes_library and (entry.process, entry.thread) == (pid(thread), tid(thread))
    }
    names = tuple(TITLES[key] for key in (*_LAYERS, "framework_library"))
    open_slice: tuple[Ints, Ints, Ints, Ints] | None = None
    for part in spool.files.parts(f"states-{thread}"):
        start, end, instance, layer = part["start"], part["end"], part["instance"], layer_codes[part["state"]]
        inseparable = np.isin(instances.label[instance], sorted(inseparable_labels))
        merged = np.isin(layer, (_LAYERS.index("framework"), _LAYERS.index("library")))
        layer = np.where(inseparable & merged, len(_LAYERS), layer)
        if open_slice is not None:
            start, end, instance, layer = (
                np.r_[before, column] for before, column in zip(open_slice, (start, end, instance, layer), strict=True)
            )
        first = begins((layer[1:] != layer[:-1]) | (instance[1:] != instance[:-1]) | (start[1:] != end[:-1]))
        last = np.r_[first[1:] - 1, len(start) - 1]
        # the last slice may continue in the next part
        open_slice = start[first[-1:]], end[last[-1:]], instance[first[-1:]], layer[first[-1:]]
        if len(first) > 1:
            yield Slices(
                track=track.key,
                category="layer",
                start=start[first[:-1]],
                end=end[last[:-1]],
                name=layer[first[:-1]],
                names=names,
            )
    if open_slice is not None:
        start, end, _, layer = open_slice
        yield Slices(track=track.key, category="layer", start=start, end=end, name=layer, names=names)


def _device(result: Result, spool: TraceSpool, process: int, top: Track, keys: Iterator[int]) -> Iterator[Event]:
    """Yield the device streams of a process: one track per stream, or several if its operations overlap."""
    names = (*spool.op_names, *_KINDS)
    for row, number in sorted(spool.rows.items()):
        row_process, device, _, lane = row
        if row_process != process:
            continue
        track = _child(top, keys, row_title(device, number, lane))
        yield track
        for part in spool.files.parts(device_key(row)):
            code = part["name"]
            yield Slices(
                track=track.key,
                category="device",
                start=part["start"],
                end=part["end"],
                name=np.where(code < 0, len(spool.op_names) - 1 - code, code),
                names=names,
                texts={"phase": (part["label"], result.instances.labels)},
                numbers={"after_launch_ns": part["after_launch"], "bytes": part["bytes"]},
                arrives=part["arrives"],
            )
