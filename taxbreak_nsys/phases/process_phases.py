"""The phases of one process before they are put together: who marked them, and whose launches belong to them.

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
    """Phase instances of one process as one way of finding them gives them; one row per instance.

    `threads` are the process's launching threads. `marked_by` is the thread that marked an instance; `own` flags the
    instances that this thread's launches use, `shared` those that threads without marks use. `mark_end` is where the
    mark itself ends. `label` are codes into `labels`; `counts` has the columns `COUNTS`.
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
        """Return the number of instances."""
        return len(self.start)

    def rows_for(self, thread: int) -> Ints:
        """Return the instances that hold a launching thread's launches: its own, else the shared ones."""
        own = np.flatnonzero(self.own & (self.marked_by == thread))
        return own if len(own) else np.flatnonzero(self.shared)

    def keep(self, which: Flags) -> ProcessPhases:
        """Return some of the instances alone."""
        columns = ("start", "end", "mark_end", "marked_by", "own", "shared", "label", "counts")
        return replace(self, **{name: getattr(self, name)[which] for name in columns})


def thread_phases(
    thread: int, start: Ints, end: Ints, label: Ints, labels: tuple[str, ...], source: PhaseSource
) -> ProcessPhases:
    """Return the phases of one thread that nobody marked: found in its launches, or the thread as a whole."""
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


@dataclass(frozen=True)
class MarkedRanges:
    """The ranges that mark one process's phases: indices into the report's ranges, and who uses each."""

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
    """Return for each process with launching `threads` the ranges that mark its phases; none where nothing does.

    `chosen` flags the ranges that may be a phase. Of a thread's own the outermost are taken, or all of them
    (`any_depth`). With `apart`, a process without marks takes those of the one process that marks and does not
    launch (an engine process that marks for its workers). With `owners`, their marks alone count in a process where
    one of them marks: the other threads help them.
    """
    marking = ranges.thread & PROCESS_MASK
    processes = dict.fromkeys(thread & PROCESS_MASK for thread in threads)
    silent = sorted(set(marking[chosen].tolist()) - set(processes)) if apart else []
    found = []
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
            mine = candidates[by_thread == thread]
            if any_depth:
                mine = mine[ranges.end[mine] > ranges.start[mine]]
            else:
                mine = mine[outermost(ranges.start[mine], ranges.end[mine])]
            own.append(mine)
            unmarked |= not len(mine)
        owned = np.unique(np.concatenate(own))
        shared = _outermost_of_process(ranges, candidates, cycles=owners is not None) if unmarked else owned[:0]
        index = np.union1d(owned, shared)
        found.append(
            MarkedRanges(
                process=process,
                threads=launching,
                index=index,
                own=np.isin(index, owned),
                shared=np.isin(index, shared),
            )
        )
    return found


def _outermost_of_process(ranges: Ranges, candidates: Ints, *, cycles: bool) -> Ints:
    """Return the outermost ranges over all threads of a process; of each thread alone where they become cycles."""
    if not cycles:
        return candidates[outermost(ranges.start[candidates], ranges.end[candidates])]
    found = []
    for thread in np.unique(ranges.thread[candidates]).tolist():
        mine = candidates[ranges.thread[candidates] == thread]
        found.append(mine[outermost(ranges.start[mine], ranges.end[mine])])
    return np.concatenate(found)


def phases_from_marks(
    ranges: Ranges,
    marked: MarkedRanges,
    label_of_name: Ints,
    labels: tuple[str, ...],
    source: PhaseSource,
    counts_of_name: Ints | None = None,
) -> ProcessPhases:
    """Return the instances that some ranges mark; `label_of_name` and `counts_of_name` are by range name code."""
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
