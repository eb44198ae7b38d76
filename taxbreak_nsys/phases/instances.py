"""Phase instances: which stretch of which thread is whose, to the nanosecond (method section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Intervals, Ints, among, count_at_or_before
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.model.step_counts import COUNTS, PhaseSource
from taxbreak_nsys.model.trace_columns import runs, thread_slice
from taxbreak_nsys.phases.cycles import IdleTime
from taxbreak_nsys.phases.process_phases import ProcessPhases

ALL = "all"
"""The label of the one phase of a thread that nothing marks."""


@dataclass(frozen=True)
class RankGroup:
    """Marking threads that are ranks of each other, and how many of their steps pair up.

    `steps` has by rank the number of its steps; `paired` is the number of steps that all ranks have.
    """

    threads: tuple[int, ...]
    steps: tuple[int, ...]
    paired: int


@dataclass(frozen=True)
class Instances:
    """Phase instances, sorted by (host thread, start), and the pieces of time that are theirs alone.

    `thread` is the host thread of an instance: its states are the instance's (method section 2.2). `marked_by` is the
    thread that marked it. `mark_end` is the
    end of the mark itself, `end` where it is no cycle. Where instances overlap on a thread (rules of any depth), a
    moment belongs to the innermost: the one that started last. The pieces of a thread are disjoint; an instance's
    wall time is the sum of the pieces of its host thread. Threads that help have pieces too: their launches belong to
    the instance, their time does not.
    """

    start: Ints
    end: Ints
    mark_end: Ints
    thread: Ints
    marked_by: Ints
    label: Ints
    labels: tuple[str, ...]
    piece_thread: Ints
    piece_start: Ints
    piece_end: Ints
    piece_instance: Ints
    counts: Ints
    """What the marks say of each step, (instances, `COUNTS`); UNKNOWN where they do not say."""
    source: Ints
    sources: tuple[PhaseSource, ...]
    """Where each instance comes from, as a code into `sources`."""
    cycle: Flags
    """Whether an instance is a cycle (method section 2.1), not a marked range."""
    group: Ints
    """The rank group of each instance, an index into `groups`; -1 for none (method section 2.3)."""
    step: Ints
    """The same number for an instance and those of other ranks that are the same step; -1 where it has no pair."""
    groups: tuple[RankGroup, ...] = ()
    idle: tuple[IdleTime, ...] = ()
    """Steps that engines marked as having no requests."""
    cut: int = 0
    """Instances left out because a time filter cuts them."""

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.start)

    @cached_property
    def host_piece(self) -> Flags:
        """Flags the pieces of host threads; the others are those of threads that help."""
        if not len(self.piece_instance):
            return np.zeros(0, bool)
        return self.piece_thread == self.thread[self.piece_instance]

    @property
    def marked(self) -> bool:
        """False where nothing divides the report into phases: every instance is the whole of a thread."""
        return any(self.sources[code].kind != ALL for code in np.unique(self.source))

    def keep(self, which: Flags) -> Instances:
        """Return some of the instances alone; a piece of time that one took from another stays its own."""
        if which.all():
            return self
        position = np.cumsum(which) - 1
        held = which[self.piece_instance]
        return replace(
            self,
            start=self.start[which],
            end=self.end[which],
            mark_end=self.mark_end[which],
            thread=self.thread[which],
            marked_by=self.marked_by[which],
            label=self.label[which],
            counts=self.counts[which],
            source=self.source[which],
            cycle=self.cycle[which],
            group=self.group[which],
            step=self.step[which],
            piece_thread=self.piece_thread[held],
            piece_start=self.piece_start[held],
            piece_end=self.piece_end[held],
            piece_instance=position[self.piece_instance[held]],
        )

    @property
    def wall(self) -> Ints:
        """Wall time of each instance in ns, without the instances inside it."""
        wall = np.zeros(len(self), np.int64)
        host = self.host_piece
        np.add.at(wall, self.piece_instance[host], (self.piece_end - self.piece_start)[host])
        return wall

    def thread_pieces(self, thread: int, *, helping: bool = False) -> tuple[Intervals, Ints]:
        """Return the pieces of one thread as a host (`helping`: as a helper), sorted, and the instance of each."""
        part = thread_slice(self.piece_thread, thread)
        which = np.flatnonzero(self.host_piece[part] != helping) + part.start
        return (self.piece_start[which], self.piece_end[which]), self.piece_instance[which]

    def at(self, thread: Ints, moment: Ints) -> Ints:
        """Return the instance that holds each (thread, moment), -1 for none; threads that help count as well."""
        result = np.full(len(moment), -1, np.int64)
        for low, high in runs(self.piece_thread):
            mine = among(thread == self.piece_thread[low])
            index = count_at_or_before(self.piece_start[low:high], moment[mine]) - 1
            piece = np.maximum(index, 0)
            inside = (index >= 0) & (moment[mine] < self.piece_end[low:high][piece])
            result[mine] = np.where(inside, self.piece_instance[low:high][piece], -1)
        return result


def assemble(
    found: Sequence[ProcessPhases],
    outline: LaunchOutline | None,
    window: tuple[int, int] | None,
    idle: Sequence[IdleTime] = (),
) -> Instances | None:
    """Put the instances of all processes together; `window` (ns) keeps those that lie wholly inside it.

    None where it takes the launches (`outline`) to decide whose host thread an instance has, and they are not given.
    """
    labels: dict[str, int] = {}
    sources: dict[PhaseSource, int] = {}
    cut = 0
    columns: list[tuple[Ints, ...]] = []
    pieces: list[tuple[Ints, Ints, Ints, Ints]] = []
    counts = [np.empty((0, len(COUNTS)), np.int64)]
    total = 0
    for given in found:
        phases, outside = _inside(given, window)
        cut += outside
        own = _process_pieces(phases)
        host = _host_threads(phases, own, outline)
        if host is None:
            return None
        code = np.array([labels.setdefault(name, len(labels)) for name in phases.labels], np.int64)
        source = np.full(len(phases), sources.setdefault(phases.source, len(sources)))
        cycle = np.full(len(phases), int(phases.cycles))
        times = (phases.start, phases.end, phases.mark_end)
        columns.append((*times, host, phases.marked_by, code[phases.label], source, cycle))
        counts.append(phases.counts)
        pieces += [(thread, start, end, row + total) for thread, start, end, row in own]
        total += len(phases)
    empty = np.empty(0, np.int64)
    joined = [np.concatenate(parts) for parts in zip(*[(empty,) * 8, *columns], strict=True)]
    start, end, mark_end, thread, marked_by, label, source_of, cycle = joined
    piece = [np.concatenate(parts) for parts in zip(*[(empty,) * 4, *pieces], strict=True)]
    order = np.lexsort((-end, start, thread))
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    by_time = np.lexsort((piece[1], piece[0]))
    return Instances(
        start=start[order],
        end=end[order],
        mark_end=mark_end[order],
        thread=thread[order],
        marked_by=marked_by[order],
        label=label[order],
        labels=tuple(labels),
        piece_thread=piece[0][by_time],
        piece_start=piece[1][by_time],
        piece_end=piece[2][by_time],
        piece_instance=position[piece[3][by_time]],
        counts=np.concatenate(counts)[order],
        source=source_of[order],
        sources=tuple(sources),
        cycle=cycle[order] == 1,
        group=np.full(len(order), -1, np.int64),
        step=np.full(len(order), -1, np.int64),
        idle=tuple(idle),
        cut=cut,
    )


def _inside(phases: ProcessPhases, window: tuple[int, int] | None) -> tuple[ProcessPhases, int]:
    """Return the instances that lie wholly in a window of time, and how many its edges cut."""
    if window is None:
        return phases, 0
    low, high = window
    inside = (phases.start >= low) & (phases.end <= high)
    return phases.keep(inside), int(np.sum(~inside & (phases.end > low) & (phases.start < high)))


def _process_pieces(phases: ProcessPhases) -> list[tuple[Ints, Ints, Ints, Ints]]:
    """Return the pieces of each launching thread: columns of thread, start, end, instance."""
    found = []
    for thread in phases.threads:
        rows = phases.rows_for(thread)
        rows = rows[np.lexsort((-phases.end[rows], phases.start[rows]))]
        if len(rows):
            start, end, at = _pieces(phases.start[rows], phases.end[rows], 0)
            found.append((np.full(len(start), thread, np.int64), start, end, rows[at]))
    return found


def _host_threads(
    phases: ProcessPhases, pieces: Sequence[tuple[Ints, Ints, Ints, Ints]], outline: LaunchOutline | None
) -> Ints | None:
    """Return the host thread of each instance (method section 2.2).

    It is the thread that marked the instance if it makes at least half of its kernel and graph launches, else the
    thread that makes most of them. None where several threads may be and `outline` is not given.
    """
    host = np.full(len(phases), -1, np.int64)
    members = np.zeros(len(phases), np.int64)
    for thread, _, _, row in pieces:
        rows = np.unique(row)
        members[rows] += 1
        host[rows] = thread[0]
    if (members <= 1).all():
        return host
    if outline is None:
        return None
    made = np.zeros((len(pieces), len(phases)), np.int64)
    for number, (thread, start, end, row) in enumerate(pieces):
        part = thread_slice(outline.thread, int(thread[0]))
        begun = outline.start[part]
        before = np.r_[0, np.cumsum(outline.computes[part])]
        launched = before[np.searchsorted(begun, end)] - before[np.searchsorted(begun, start)]
        np.add.at(made[number], row, launched)
    names = np.array([int(thread[0]) for thread, *_ in pieces], np.int64)
    used = np.stack([np.isin(np.arange(len(phases)), row) for *_, row in pieces])
    busiest = np.argmax(np.where(used, made, -1), axis=0)
    host = names[busiest]
    total = made.sum(axis=0)
    for number, thread in enumerate(names.tolist()):
        marks = used[number] & (phases.marked_by == thread) & (2 * made[number] >= total)
        host[marks] = thread
    # an instance without such launches has the host thread of most instances of its process
    idle = (total == 0) & (host != phases.marked_by)
    if idle.any():
        usual = names[int(np.argmax(made.sum(axis=1)))]
        host[idle & used[int(np.flatnonzero(names == usual)[0])]] = usual
    return host


def _pieces(start: Ints, end: Ints, offset: int) -> tuple[Ints, Ints, Ints]:
    """Split one thread's time among its instances: each moment to the one that started last.

    The instances are sorted by (start, longest first). Returns (start, end, instance) sorted by start.
    """
    if not np.any(start[1:] < np.maximum.accumulate(end)[:-1]):
        return start, end, np.arange(len(start), dtype=np.int64) + offset
    pieces: list[tuple[int, int, int]] = []
    stack: list[int] = []
    starts, ends = start.tolist(), end.tolist()
    now = starts[0]

    def advance(moment: int) -> None:
        nonlocal now
        while stack and now < moment:
            top = stack[-1]
            until = min(ends[top], moment)
            if until > now:
                pieces.append((now, until, top))
                now = until
            if ends[top] <= now:
                stack.pop()
        now = max(now, moment)

    for index, moment in enumerate(starts):
        advance(moment)
        stack.append(index)
    advance(max(ends))
    cut = np.array(pieces, np.int64).reshape(-1, 3)
    return cut[:, 0], cut[:, 1], cut[:, 2] + offset


def no_instances() -> Instances:
    """Return no instances: for reading a report's launches before its phases are known."""
    instances = assemble([], None, None)
    assert instances is not None
    return instances
