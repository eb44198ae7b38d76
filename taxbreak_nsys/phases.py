"""Phases: which stretch of which thread belongs to prefill, to decode, to nothing (method section 2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from taxbreak_nsys import words
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.intervals import Flags, Intervals, Ints
from taxbreak_nsys.launches import Launches
from taxbreak_nsys.read.trace import PROCESS_MASK, Trace, runs, thread_slice

ALL = "all"
"""The label of the one phase of a thread that nothing marks."""


@dataclass(frozen=True)
class PhaseRule:
    """A phase chosen by the user: ranges whose text the pattern finds get the label."""

    label: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> PhaseRule:
        """Parse `LABEL=REGEX`; raises TaxbreakError where it is not of that form."""
        label, equals, regex = text.partition("=")
        if not equals or not label.strip() or not regex:
            raise TaxbreakError(f"--phase {text!r}: write LABEL=REGEX, as in --phase 'decode=^decode_'")
        try:
            return cls(label.strip(), re.compile(regex))
        except re.error as error:
            raise TaxbreakError(f"--phase {text!r}: not a regular expression ({error})") from error


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
    marked: bool = True
    """False where no range was usable and each launching thread is one phase, `all`."""
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
            mine = np.flatnonzero(thread == self.piece_thread[low])
            index = np.searchsorted(self.piece_start[low:high], moment[mine], side="right") - 1
            inside = (index >= 0) & (moment[mine] < self.piece_end[low:high][np.maximum(index, 0)])
            result[mine[inside]] = self.piece_instance[low:high][index[inside]]
        return result


def outermost(start: Ints, end: Ints) -> Ints:
    """Return the indices of the outermost ranges: each starts at or after the end of the one taken before.

    The order is by start, longest first (method section 2). Empty ranges are no instances.
    """
    taken: list[int] = []
    order = np.lexsort((-end, start))
    order = order[end[order] > start[order]]
    starts = start[order]
    at = 0
    while at < len(order):
        taken.append(int(order[at]))
        at = int(np.searchsorted(starts, end[order[at]], side="left"))
    return np.array(taken, np.int64)


def find_instances(
    trace: Trace,
    launches: Launches,
    rules: Sequence[PhaseRule] = (),
    window: tuple[int, int] | None = None,
) -> Instances:
    """Find the phase instances of every launching thread.

    With `rules`, ranges of any depth whose text a rule finds (the first rule that does); without, the
    outermost ranges that are neither a library's nor an operator's. `window` (ns) keeps the instances that
    lie wholly inside it. Raises TaxbreakError where rules select nothing.
    """
    ranges = trace.ranges
    label_of_name, labels = _label_names(ranges.names, rules)
    chosen = label_of_name[ranges.name] >= 0 if len(ranges) else np.empty(0, bool)
    if not rules:
        chosen = chosen & ~ranges.is_operator & ~ranges.is_library
    chosen = chosen & (ranges.end > ranges.start)
    threads = launches.thread[[low for low, _ in runs(launches.thread)]]
    found: list[tuple[Ints, Ints, int, Ints]] = []
    for thread in threads.tolist():
        picked = _ranges_for(trace, chosen, thread, bool(rules))
        if len(picked):
            label = label_of_name[ranges.name[picked]]
            found.append((ranges.start[picked], ranges.end[picked], thread, label))
        elif not rules:
            labels = labels if ALL in labels else (*labels, ALL)
            low, high = _whole(trace, launches, thread)
            if window:
                low, high = max(low, window[0]), min(high, window[1])
            if high > low:
                code = np.array([labels.index(ALL)])
                found.append((np.array([low]), np.array([high]), thread, code))
    if rules and not found:
        names = ", ".join(sorted({rule.label for rule in rules}))
        raise TaxbreakError(
            f"no NVTX range of a launching thread matches --phase ({names}); the ranges are: "
            + (_examples(trace) or "none: capture with 'nsys profile -t cuda,nvtx'")
        )
    return _assemble(found, labels, window)


def _label_names(names: Sequence[str], rules: Sequence[PhaseRule]) -> tuple[Ints, tuple[str, ...]]:
    """Return for each range name its label's code (-1: no rule finds it), and the labels."""
    labels: dict[str, int] = {}
    codes = np.full(len(names), -1, np.int64)
    for index, name in enumerate(names):
        if rules:
            label = next((rule.label for rule in rules if rule.pattern.search(name)), None)
        else:
            label = words.phase_label(name)
        if label is not None:
            codes[index] = labels.setdefault(label, len(labels))
    return codes, tuple(labels)


def _ranges_for(trace: Trace, chosen: Flags, thread: int, any_depth: bool) -> Ints:
    """Return the ranges that mark `thread`: its own, or else the outermost of its process's other threads."""
    ranges = trace.ranges
    part = thread_slice(ranges.thread, thread)
    own = np.flatnonzero(chosen[part]) + part.start
    if len(own):
        return own if any_depth else own[outermost(ranges.start[own], ranges.end[own])]
    others = np.flatnonzero(chosen & ((ranges.thread & PROCESS_MASK) == (thread & PROCESS_MASK)))
    return others[outermost(ranges.start[others], ranges.end[others])]


def _whole(trace: Trace, launches: Launches, thread: int) -> tuple[int, int]:
    """Return the span from a thread's first launch to the end of its last API call or device operation."""
    mine = thread_slice(launches.thread, thread)
    last = int(trace.api.end[trace.api.thread_slice(thread)].max())
    ops = (launches.of_op >= mine.start) & (launches.of_op < mine.stop)
    if ops.any():
        last = max(last, int(trace.ops.end[ops].max()))
    return int(launches.start[mine].min()), last


def _assemble(
    found: list[tuple[Ints, Ints, int, Ints]], labels: tuple[str, ...], window: tuple[int, int] | None
) -> Instances:
    start = np.concatenate([f[0] for f in found]) if found else np.empty(0, np.int64)
    end = np.concatenate([f[1] for f in found]) if found else np.empty(0, np.int64)
    thread = np.concatenate([np.full(len(f[0]), f[2], np.int64) for f in found]) if found else start
    label = np.concatenate([f[3] for f in found]) if found else start
    cut = 0
    if window:
        inside = (start >= window[0]) & (end <= window[1])
        cut = int(np.sum(~inside & (end > window[0]) & (start < window[1])))
        start, end, thread, label = start[inside], end[inside], thread[inside], label[inside]
    order = np.lexsort((-end, start, thread))
    start, end, thread, label = start[order], end[order], thread[order], label[order]
    pieces = [_pieces(start[low:high], end[low:high], low) for low, high in runs(thread)]
    joined = [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else [start] * 3
    marked = any(labels[code] != ALL for code in np.unique(label))
    return Instances(start, end, thread, label, labels, joined[0], joined[1], joined[2], marked, cut)


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


def _examples(trace: Trace, most: int = 5) -> str:
    ranges = trace.ranges
    plain = ~ranges.is_operator & ~ranges.is_library
    names = sorted({words.phase_label(ranges.names[code]) for code in np.unique(ranges.name[plain])})
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
