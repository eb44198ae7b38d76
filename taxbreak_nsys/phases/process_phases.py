"""The phases of one process, before those of all processes are joined: marking threads, launching threads, times.

A thread with marks of its own uses those. The other launching threads of its process use the outermost marks of all
threads of the process, taken together (method section 2).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Ranges


@dataclass(frozen=True)
class ProcessPhases:
    """The phase instances of one process, from one source (`PhaseSource`); one row per instance.

    `threads` are the process's launching threads. `marked_by` is the thread that marked an instance; `own` flags the
    instances that this thread's launches belong to, `shared` the instances for the launches of threads without marks.
    `mark_end` is the end of the mark itself. `label` has codes into `labels`; `counts` has the columns `COUNTS`.
    """

    process: int
    threads: tuple[int, ...]
    start: Ints
    end: Ints
    mark_end: Ints
    marked_by: Ints
    own: Flags
    shared: Flags
    label: Ints
    labels: tuple[str, ...]
    counts: Ints
    source: PhaseSource
    cycles: bool = False
    """Whether an instance is a cycle: from its mark to the next one (method section 2.1)."""
    unnamed: frozenset[str] = frozenset()
    """Labels that do not say whether a step is prefill or decode: the kernels may."""

    def __len__(self) -> int:
        return len(self.start)

    def thread_rows(self, thread: int) -> Ints:
        """Return the rows of the instances for a thread's launches: the instances of its marks, or else the shared."""
        own = np.flatnonzero(self.own & (self.marked_by == thread))
        return own if len(own) else np.flatnonzero(self.shared)

    def keep(self, which: Flags) -> ProcessPhases:
        """Return the flagged instances alone."""
        columns = ("start", "end", "mark_end", "marked_by", "own", "shared", "label", "counts")
        return replace(self, **{name: getattr(self, name)[which] for name in columns})


def thread_phases(
    thread: int, start: Ints, end: Ints, label: Ints, labels: tuple[str, ...], source: PhaseSource
) -> ProcessPhases:
    """Return phases of one thread without marks: steps found in its launches, or the thread as a whole."""
    flags = np.ones(len(start), bool)
    return ProcessPhases(
        process=thread & PROCESS_MASK,
        threads=(thread,),
        start=start,
        end=end,
        mark_end=end,
        marked_by=np.full(len(start), thread, np.int64),
        own=flags,
        shared=~flags,
        label=label,
        labels=labels,
        counts=np.full((len(start), len(COUNTS)), UNKNOWN),
        source=source,
    )


def outermost(start: Ints, end: Ints) -> Ints:
    """Return the indices of the outermost ranges, in order: each starts at or after the end of the previous one.

    Of ranges with one start, the longest is taken (method section 2). Empty ranges are left out.
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


@dataclass(frozen=True)
class MarkedRanges:
    """The ranges that mark one process's phases: indices into the report's ranges; flags as in `ProcessPhases`."""

    process: int
    threads: tuple[int, ...]
    index: Ints
    own: Flags
    shared: Flags


def marked_ranges(
    ranges: Ranges,
    chosen: Flags,
    threads: Sequence[int],
    *,
    any_depth: bool = False,
    apart: bool = False,
    owners: Set[int] | None = None,
) -> list[MarkedRanges]:
    """Return for each process with launching `threads` the ranges that mark its phases; processes without are left out.

    `chosen` flags the ranges that may be a phase. Of each thread's ranges, the outermost are taken, or all
    (`any_depth`). With `apart`, a process without marks takes the marks of the one process that marks and does not
    launch (an engine process that marks for its workers). `owners` are the threads that launch kernels or graphs:
    in a process where one of them marks, only their marks count, and the other threads help them.
    """
    marking = ranges.thread & PROCESS_MASK
    processes = dict.fromkeys(thread & PROCESS_MASK for thread in threads)
    silent = sorted(set(marking[chosen].tolist()) - set(processes)) if apart else []
    result = []
    for process in processes:
        launching = tuple(thread for thread in threads if thread & PROCESS_MASK == process)
        candidates = np.flatnonzero(chosen & (marking == process))
        if not len(candidates) and len(silent) == 1:
            candidates = np.flatnonzero(chosen & (marking == silent[0]))
        if not len(candidates):
            continue
        owned_by = None if owners is None else np.isin(ranges.thread[candidates], list(owners))
        if owned_by is not None and owned_by.any():
            candidates = candidates[owned_by]
        by_thread = ranges.thread[candidates]
        own: list[Ints] = []
        unmarked = False
        for thread in launching:
            picked = candidates[by_thread == thread]
            if any_depth:
                picked = picked[ranges.end[picked] > ranges.start[picked]]
            else:
                picked = picked[outermost(ranges.start[picked], ranges.end[picked])]
            own.append(picked)
            unmarked |= not len(picked)
        owned = np.unique(np.concatenate(own))
        shared = _outermost_of_process(ranges, candidates, cycles=owners is not None) if unmarked else owned[:0]
        index = np.union1d(owned, shared)
        result.append(
            MarkedRanges(
                process=process,
                threads=launching,
                index=index,
                own=np.isin(index, owned),
                shared=np.isin(index, shared),
            )
        )
    return result


def _outermost_of_process(ranges: Ranges, candidates: Ints, *, cycles: bool) -> Ints:
    """Return the outermost ranges over all threads of a process together; with `cycles`, of each thread by itself."""
    if not cycles:
        return candidates[outermost(ranges.start[candidates], ranges.end[candidates])]
    parts = []
    for thread in np.unique(ranges.thread[candidates]).tolist():
        rows = candidates[ranges.thread[candidates] == thread]
        parts.append(rows[outermost(ranges.start[rows], ranges.end[rows])])
    return np.concatenate(parts)


def phases_from_marks(
    ranges: Ranges,
    marked: MarkedRanges,
    label_of_name: Ints,
    labels: tuple[str, ...],
    source: PhaseSource,
    counts_of_name: Ints | None = None,
) -> ProcessPhases:
    """Return the instances that the ranges mark; `label_of_name`, `counts_of_name` are indexed by range name code."""
    index, name = marked.index, ranges.name[marked.index]
    unknown = np.full((len(index), len(COUNTS)), UNKNOWN)
    return ProcessPhases(
        process=marked.process,
        threads=marked.threads,
        start=ranges.start[index],
        end=ranges.end[index],
        mark_end=ranges.end[index],
        marked_by=ranges.thread[index],
        own=marked.own,
        shared=marked.shared,
        label=label_of_name[name],
        labels=labels,
        counts=unknown if counts_of_name is None else counts_of_name[name],
        source=source,
    )
