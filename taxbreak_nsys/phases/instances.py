"""Phase instances: which time of which thread belongs to which instance, to the nanosecond (method section 2)."""

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
    """Marking threads that are ranks of one group, and how many of their steps pair up.

    `steps` has the number of steps of each rank; `paired` is the number of steps that all ranks have.
    """

    threads: tuple[int, ...]
    steps: tuple[int, ...]
    paired: int


@dataclass(frozen=True)
class Instances:
    """Phase instances, sorted by (host thread, start), and the pieces of time that belong to each.

    `thread` is the host thread of an instance: the thread whose states count (method section 2.2). `marked_by` is the
    thread that marked the instance. `mark_end` is the end of the mark itself; it equals `end` unless the instance is a
    cycle. Where instances overlap on a thread (rules of any depth), a moment belongs to the instance that started
    last. The pieces of a thread are disjoint; an instance's wall time is the sum of its pieces on its host thread.
    Helper threads have pieces too: their launches belong to the instance, their time does not.
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
    """Requests and tokens by the steps' marks, shape (instances, `COUNTS`); UNKNOWN where a mark does not say them."""
    source: Ints
    sources: tuple[PhaseSource, ...]
    """The distinct sources; `source` has a code into them per instance."""
    cycle: Flags
    """Whether each instance is a cycle (method section 2.1) and not a range."""
    group: Ints
    """The rank group of each instance, an index into `groups`; -1 for none (method section 2.3)."""
    step: Ints
    """The number of the step that an instance and its pairs on the other ranks share; -1 without a pair."""
    groups: tuple[RankGroup, ...] = ()
    idle: tuple[IdleTime, ...] = ()
    """Steps that engines marked as having no requests."""
    cut: int = 0
    """The number of instances left out because a time filter cuts them."""

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def host_piece(self) -> Flags:
        """A flag per piece: whether it is its instance's host thread's, and not a helper thread's."""
        if not len(self.piece_instance):
            return np.zeros(0, bool)
        return self.piece_thread == self.thread[self.piece_instance]

    @property
    def marked(self) -> bool:
        """Whether anything divides the report into phases; False where every instance is a whole thread."""
        return any(self.sources[code].kind != ALL for code in np.unique(self.source))

    def keep(self, which: Flags) -> Instances:
        """Return the flagged instances alone, their pieces unchanged: time inside a dropped instance is in no piece."""
        if which.all():
            return self
        position = np.cumsum(which) - 1
        kept_piece = which[self.piece_instance]
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
            piece_thread=self.piece_thread[kept_piece],
            piece_start=self.piece_start[kept_piece],
            piece_end=self.piece_end[kept_piece],
            piece_instance=position[self.piece_instance[kept_piece]],
        )

    @property
    def wall(self) -> Ints:
        """Wall time of each instance, ns, without the time of instances inside it."""
        wall = np.zeros(len(self), np.int64)
        host = self.host_piece
        np.add.at(wall, self.piece_instance[host], (self.piece_end - self.piece_start)[host])
        return wall

    def thread_pieces(self, thread: int, *, helping: bool = False) -> tuple[Intervals, Ints]:
        """Return the sorted pieces of one thread as host (`helping`: as helper), and the instance of each piece."""
        part = thread_slice(self.piece_thread, thread)
        which = np.flatnonzero(self.host_piece[part] != helping) + part.start
        return (self.piece_start[which], self.piece_end[which]), self.piece_instance[which]

    def at(self, thread: Ints, moment: Ints) -> Ints:
        """Return the instance of each (thread, moment), -1 for none; helper threads have instances too."""
        result = np.full(len(moment), -1, np.int64)
        for low, high in runs(self.piece_thread):
            rows = among(thread == self.piece_thread[low])
            index = count_at_or_before(self.piece_start[low:high], moment[rows]) - 1
            piece = np.maximum(index, 0)
            inside = (index >= 0) & (moment[rows] < self.piece_end[low:high][piece])
            result[rows] = np.where(inside, self.piece_instance[low:high][piece], -1)
        return result


def assemble(
    processes: Sequence[ProcessPhases],
    outline: LaunchOutline | None,
    window: tuple[int, int] | None,
    idle: Sequence[IdleTime] = (),
) -> Instances | None:
    """Return the instances of all processes; with `window` (ns), only the instances wholly inside it.

    None where `outline` is None and the launches are needed to decide an instance's host thread.
    """
    labels: dict[str, int] = {}
    sources: dict[PhaseSource, int] = {}
    cut = 0
    columns: list[tuple[Ints, ...]] = []
    pieces: list[tuple[Ints, Ints, Ints, Ints]] = []
    counts = [np.empty((0, len(COUNTS)), np.int64)]
    total = 0
    for candidates in processes:
        phases, cut_here = _inside(candidates, window)
        cut += cut_here
        process_pieces = _process_pieces(phases)
        host = _host_threads(phases, process_pieces, outline)
        if host is None:
            return None
        code = np.array([labels.setdefault(name, len(labels)) for name in phases.labels], np.int64)
        source = np.full(len(phases), sources.setdefault(phases.source, len(sources)))
        cycle = np.full(len(phases), int(phases.cycles))
        times = (phases.start, phases.end, phases.mark_end)
        columns.append((*times, host, phases.marked_by, code[phases.label], source, cycle))
        counts.append(phases.counts)
        pieces += [(thread, start, end, row + total) for thread, start, end, row in process_pieces]
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
    """Return the instances wholly inside a time window, and the number of instances that its edges cut."""
    if window is None:
        return phases, 0
    low, high = window
    inside = (phases.start >= low) & (phases.end <= high)
    return phases.keep(inside), int(np.sum(~inside & (phases.end > low) & (phases.start < high)))


def _process_pieces(phases: ProcessPhases) -> list[tuple[Ints, Ints, Ints, Ints]]:
    """Return for each launching thread with instances the columns (thread, start, end, instance) of its pieces."""
    result = []
    for thread in phases.threads:
        rows = phases.thread_rows(thread)
        rows = rows[np.lexsort((-phases.end[rows], phases.start[rows]))]
        if len(rows):
            start, end, at = _pieces(phases.start[rows], phases.end[rows], 0)
            result.append((np.full(len(start), thread, np.int64), start, end, rows[at]))
    return result


def _host_threads(
    phases: ProcessPhases, pieces: Sequence[tuple[Ints, Ints, Ints, Ints]], outline: LaunchOutline | None
) -> Ints | None:
    """Return the host thread of each instance (method section 2.2).

    It is the marking thread if that makes at least half of the instance's kernel and graph launches, else the thread
    with the most such launches. None where several threads are candidates and `outline` is None.
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
    launches = np.zeros((len(pieces), len(phases)), np.int64)
    for number, (thread, start, end, row) in enumerate(pieces):
        part = thread_slice(outline.thread, int(thread[0]))
        launch_start = outline.start[part]
        before = np.r_[0, np.cumsum(outline.computes[part])]
        launched = before[np.searchsorted(launch_start, end)] - before[np.searchsorted(launch_start, start)]
        np.add.at(launches[number], row, launched)
    threads = np.array([int(thread[0]) for thread, *_ in pieces], np.int64)
    used = np.stack([np.isin(np.arange(len(phases)), row) for *_, row in pieces])
    busiest = np.argmax(np.where(used, launches, -1), axis=0)
    host = threads[busiest]
    total = launches.sum(axis=0)
    for number, thread in enumerate(threads.tolist()):
        is_host = used[number] & (phases.marked_by == thread) & (2 * launches[number] >= total)
        host[is_host] = thread
    # An instance without kernel and graph launches takes the thread with the most launches of its process.
    idle = (total == 0) & (host != phases.marked_by)
    if idle.any():
        usual = threads[int(np.argmax(launches.sum(axis=1)))]
        host[idle & used[int(np.flatnonzero(threads == usual)[0])]] = usual
    return host


def _pieces(start: Ints, end: Ints, offset: int) -> tuple[Ints, Ints, Ints]:
    """Split one thread's time among its instances: a moment belongs to the open instance that started last.

    The instances are sorted by (start, longest first). Returns (start, end, instance) sorted by start.
    """
    if not np.any(start[1:] < np.maximum.accumulate(end)[:-1]):
        return start, end, np.arange(len(start), dtype=np.int64) + offset
    pieces: list[tuple[int, int, int]] = []
    stack: list[int] = []
    starts, ends = start.tolist(), end.tolist()
    covered_until = starts[0]

    def advance(moment: int) -> None:
        """Append the pieces up to a moment: the time of the instance on top of the stack."""
        nonlocal covered_until
        while stack and covered_until < moment:
            top = stack[-1]
            until = min(ends[top], moment)
            if until > covered_until:
                pieces.append((covered_until, until, top))
                covered_until = until
            if ends[top] <= covered_until:
                stack.pop()
        covered_until = max(covered_until, moment)

    for index, moment in enumerate(starts):
        advance(moment)
        stack.append(index)
    advance(max(ends))
    cut = np.array(pieces, np.int64).reshape(-1, 3)
    return cut[:, 0], cut[:, 1], cut[:, 2] + offset


def no_instances() -> Instances:
    """Return an empty set of instances, for reading a report's launches before its phases are known."""
    instances = assemble([], None, None)
    assert instances is not None
    return instances
