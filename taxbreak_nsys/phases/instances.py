"""Phase instances: which stretch of which thread is whose, to the nanosecond (method section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Intervals, Ints, among, count_at_or_before
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource
from taxbreak_nsys.model.trace_columns import runs, thread_slice

ALL = "all"
"""The label of the one phase of a thread that nothing marks."""


@dataclass(frozen=True)
class ThreadPhases:
    """The instances of one thread as one way of looking found them, before they are put together.

    `label` are codes into `labels`; `counts` has the columns `COUNTS` (None: nothing is known).
    """

    start: Ints
    end: Ints
    thread: int
    label: Ints
    labels: tuple[str, ...]
    source: PhaseSource
    counts: Ints | None = None


@dataclass(frozen=True)
class Instances:
    """Phase instances, sorted by (thread, start), and the pieces of time that are theirs alone.

    Where instances overlap on a thread (rules of any depth), a moment belongs to the innermost: the one that
    started last. The pieces are disjoint; an instance's wall time is the sum of its pieces.
    """

    start: Ints
    end: Ints
    thread: Ints
    label: Ints
    labels: tuple[str, ...]
    piece_start: Ints
    piece_end: Ints
    piece_instance: Ints
    counts: Ints
    """What the marks say of each step, (instances, `COUNTS`); UNKNOWN where they do not say."""
    source: Ints
    sources: tuple[PhaseSource, ...]
    """Where each instance comes from, as a code into `sources`."""
    cut: int = 0
    """Instances left out because a time filter cuts them."""
    piece_thread: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Derive the thread of each piece."""
        threads = self.thread[self.piece_instance] if len(self.piece_instance) else np.empty(0, np.int64)
        object.__setattr__(self, "piece_thread", threads)

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.start)

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
            self, start=self.start[which], end=self.end[which], thread=self.thread[which], label=self.label[which],
            counts=self.counts[which], source=self.source[which],
            piece_start=self.piece_start[held], piece_end=self.piece_end[held],
            piece_instance=position[self.piece_instance[held]],
        )  # fmt: skip

    @property
    def wall(self) -> Ints:
        """Wall time of each instance in ns, without the instances inside it."""
        wall = np.zeros(len(self), np.int64)
        np.add.at(wall, self.piece_instance, self.piece_end - self.piece_start)
        return wall

    def pieces_of(self, thread: int) -> tuple[Intervals, Ints]:
        """Return the pieces of one thread, sorted, and the instance of each."""
        part = thread_slice(self.piece_thread, thread)
        return (self.piece_start[part], self.piece_end[part]), self.piece_instance[part]

    def at(self, thread: Ints, moment: Ints) -> Ints:
        """Return the instance that holds each (thread, moment), -1 for none."""
        result = np.full(len(moment), -1, np.int64)
        for low, high in runs(self.piece_thread):
            mine = among(thread == self.piece_thread[low])
            index = count_at_or_before(self.piece_start[low:high], moment[mine]) - 1
            piece = np.maximum(index, 0)
            inside = (index >= 0) & (moment[mine] < self.piece_end[low:high][piece])
            result[mine] = np.where(inside, self.piece_instance[low:high][piece], -1)
        return result


def assemble(found: Sequence[ThreadPhases], window: tuple[int, int] | None) -> Instances:
    """Put the instances of all threads together; `window` (ns) keeps those that lie wholly inside it."""
    labels: dict[str, int] = {}
    sources: dict[PhaseSource, int] = {}
    empty = np.empty(0, np.int64)
    columns: list[tuple[Ints, ...]] = [(empty, empty, empty, empty, empty)]
    counts = [np.empty((0, len(COUNTS)), np.int64)]
    for one in found:
        number = len(one.start)
        code = np.array([labels.setdefault(name, len(labels)) for name in one.labels], np.int64)
        source = sources.setdefault(one.source, len(sources))
        columns.append(
            (one.start, one.end, np.full(number, one.thread, np.int64), code[one.label], np.full(number, source))
        )
        counts.append(np.full((number, len(COUNTS)), UNKNOWN) if one.counts is None else one.counts)
    start, end, thread, label, source_of = (np.concatenate(column) for column in zip(*columns, strict=True))
    count = np.concatenate(counts)
    cut = 0
    inside = np.ones(len(start), bool)
    if window:
        inside = (start >= window[0]) & (end <= window[1])
        cut = int(np.sum(~inside & (end > window[0]) & (start < window[1])))
    order = np.lexsort((-end, start, thread))
    order = order[inside[order]]
    start, end, thread, label = start[order], end[order], thread[order], label[order]
    pieces = [_pieces(start[low:high], end[low:high], low) for low, high in runs(thread)]
    joined = [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else [start] * 3
    return Instances(
        start, end, thread, label, tuple(labels), joined[0], joined[1], joined[2],
        count[order], source_of[order], tuple(sources), cut,
    )  # fmt: skip


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
