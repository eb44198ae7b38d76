"""The columns of one report, the input of every later stage.

All times are int64 nanoseconds of the session, threads are globalTid, processes `thread & ~0xFFFFFF`.
Names are codes into a tuple of distinct strings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints

PROCESS_MASK = ~0xFFFFFF

KERNEL, COPY, SET, GRAPH = range(4)
"""Kinds of device operations: kernels, copies, sets, graphs traced as a whole."""


def pid(identifier: int) -> int:
    """Return the process id held in a globalTid or globalPid."""
    return (identifier >> 24) & 0xFFFFFF


def tid(thread: int) -> int:
    """Return the thread id held in a globalTid."""
    return thread & 0xFFFFFF


@lru_cache(maxsize=32)
def name_flags(predicate: Callable[[str], bool], names: tuple[str, ...]) -> Flags:
    """Return a flag for each name: whether the predicate is true of it. The array is shared and cannot be written."""
    flags = np.array([predicate(name) for name in names], bool)
    flags.setflags(write=False)
    return flags


@dataclass(frozen=True)
class ApiCalls:
    """CUDA API calls, sorted by (thread, start); a call inside another call of its thread is merged into that call."""

    start: Ints
    end: Ints
    thread: Ints
    callchain_id: Ints
    name: Ints
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start)

    def named(self, predicate: Callable[[str], bool]) -> Flags:
        """Return a flag per call: whether the predicate is true of its name; it is called once per distinct name."""
        verdicts = name_flags(predicate, self.names)
        return verdicts[self.name] if len(verdicts) else np.zeros(len(self), bool)

    def thread_slice(self, thread: int) -> slice:
        """Return the slice of one thread's calls."""
        return thread_slice(self.thread, thread)


@dataclass(frozen=True)
class DeviceOps:
    """Device operations; `api` is the index of the launching call, -1 where the report has no such call.

    `stream` is a code per (process, device, context, stream id). `node_blocks` has for kernels that are nodes of a CUDA
    graph the thread blocks of their grid: -1 where it has more than one dimension or is not known. `from_host` flags
    copies from the host's memory.
    """

    kind: Ints
    start: Ints
    end: Ints
    process: Ints
    device: Ints
    device_global: Ints
    stream: Ints
    name: Ints
    names: tuple[str, ...]
    graph_node: Flags
    node_blocks: Ints
    bytes: Ints
    from_host: Flags
    api: Ints

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def computes(self) -> Flags:
        """A flag per operation: whether it is a kernel or graph and so counts for T_DeviceActive (method section 5)."""
        return (self.kind == KERNEL) | (self.kind == GRAPH)


@dataclass(frozen=True)
class Ranges:
    """NVTX ranges, sorted by (thread, start, longest first)."""

    start: Ints
    end: Ints
    thread: Ints
    name: Ints
    names: tuple[str, ...]
    is_operator: Flags
    is_library: Flags

    def __len__(self) -> int:
        return len(self.start)

    def take(self, which: Ints) -> Ranges:
        """Return the ranges with the given indices, which ascend."""
        return Ranges(
            start=self.start[which],
            end=self.end[which],
            thread=self.thread[which],
            name=self.name[which],
            names=self.names,
            is_operator=self.is_operator[which],
            is_library=self.is_library[which],
        )


@dataclass(frozen=True)
class HostCalls:
    """Host intervals of one sort (library calls, OS calls, overheads), sorted by (thread, start)."""

    start: Ints
    end: Ints
    thread: Ints
    flag: Flags
    """Its meaning depends on the sort: the OS call waits; the overhead is the profiler's."""


@dataclass(frozen=True)
class Trace:
    """One report's columns."""

    api: ApiCalls
    ops: DeviceOps
    ranges: Ranges
    library_calls: HostCalls
    os_calls: HostCalls
    overheads: HostCalls
    libraries: frozenset[str]
    """Names of the libraries with ranges or calls in the report, in the spelling of their NVTX domains."""

    @property
    def library_processes(self) -> set[int]:
        """The processes with library ranges or calls."""
        own = np.r_[self.ranges.thread[self.ranges.is_library], self.library_calls.thread] & PROCESS_MASK
        return set(np.unique(own).tolist())


def thread_slice(threads: Ints, thread: int) -> slice:
    """Return the slice of `thread` in a sorted array of threads."""
    low, high = np.searchsorted(threads, [thread, thread + 1])
    return slice(int(low), int(high))


def runs(values: Ints) -> list[tuple[int, int]]:
    """Return (low, high) of each run of equal neighbours."""
    if not len(values):
        return []
    edges = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return list(pairwise([0, *edges, len(values)]))
