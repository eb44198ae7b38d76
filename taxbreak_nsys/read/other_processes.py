"""CPU time of a report's processes: those that call no CUDA (front end, scheduler of an engine), and the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import EMPTY, Intervals, union
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, runs
from taxbreak_nsys.read.database import Database

_TABLES = {"OSRT_API", "COMPOSITE_EVENTS", "SCHED_EVENTS"}

_MOST_THREADS = 4096

_MOST_SWITCHES = 2_000_000
"""Context switches up to which those of the processes that call CUDA are read: all at once, 24 bytes each."""

NO_SWITCHES = "the report has no context switches"


@dataclass(frozen=True)
class OtherProcess:
    """A process that calls no CUDA.

    `on_cpu` holds the disjoint intervals (ns) in which at least one of its threads was on a CPU; None without context
    switches.
    """

    process: int
    names: tuple[str, ...]
    threads: int
    os_calls: int
    samples: int
    on_cpu: Intervals | None


@dataclass(frozen=True)
class CpuActivity:
    """Which processes of a report were on a CPU when.

    `others` are the processes that call no CUDA, by globalPid. `on_cpu` has the intervals (ns) on a CPU of each thread
    of the processes that call CUDA, by globalTid; None, with the `reason`, where they are not known.
    """

    others: Sequence[OtherProcess]
    on_cpu: Mapping[int, Intervals] | None
    reason: str | None = None


def read_cpu_activity(database: Database, cuda_threads: Sequence[int], names: Mapping[int, str]) -> CpuActivity:
    """Return the CPU time of the processes that have OS calls, CPU samples or context switches.

    `cuda_threads` are the globalTids of the threads that call CUDA, `names` the names of threads by globalTid.
    """
    if not _TABLES & set(database.schema):
        return CpuActivity([], None, NO_SWITCHES)
    cuda_processes = {thread & PROCESS_MASK for thread in cuda_threads}
    found = numbers(database.query("event_threads", thread=str(cuda_threads[0]))["thread"]).tolist()
    workers = [thread for thread in found if thread & PROCESS_MASK in cuda_processes][:_MOST_THREADS]
    others = [thread for thread in found if thread & PROCESS_MASK not in cuda_processes][:_MOST_THREADS]
    other_processes = _other_processes(database, others, names) if others else []
    rows = database.layout.rows
    switches = rows.get("SCHED_EVENTS", 0)
    if not rows.get("OSRT_API", 0):
        return CpuActivity(other_processes, None, "the report has no OS calls")
    if not switches:
        return CpuActivity(other_processes, None, NO_SWITCHES)
    if switches > _MOST_SWITCHES:
        return CpuActivity(other_processes, None, f"the report has more than {_MOST_SWITCHES:,} context switches")
    return CpuActivity(other_processes, _on_cpu(database, workers))


def united(intervals: Sequence[Intervals]) -> Intervals:
    """Return the union of the intervals of several threads."""
    if not intervals:
        return EMPTY
    return union(np.concatenate([start for start, _ in intervals]), np.concatenate([end for _, end in intervals]))


def _other_processes(database: Database, others: Sequence[int], names: Mapping[int, str]) -> list[OtherProcess]:
    """Return the processes of some threads, which call no CUDA, by globalPid."""
    # Counted only where there are such threads: most reports have none, and counting sorts the rows into groups.
    rows = database.query("thread_events", threads=json.dumps(others)).to_pylist()
    by_process: dict[int, list[dict[str, int]]] = {}
    for row in rows:
        by_process.setdefault(row["thread"] & PROCESS_MASK, []).append(row)
    threads = [row["thread"] for row in rows if row["switches"]]
    switched = _on_cpu(database, threads)
    processes = []
    for process, thread_rows in sorted(by_process.items()):
        intervals = [switched[row["thread"]] for row in thread_rows if row["thread"] in switched]
        # Nsight Systems injects its own threads; their names do not describe the process.
        own_names = (names.get(row["thread"]) for row in thread_rows)
        processes.append(
            OtherProcess(
                process=process,
                names=tuple(dict.fromkeys(name for name in own_names if name and "NSys" not in name)),
                threads=len(thread_rows),
                os_calls=sum(row["os_calls"] for row in thread_rows),
                samples=sum(row["samples"] for row in thread_rows),
                on_cpu=united(intervals) if intervals else None,
            )
        )
    return processes


def _on_cpu(database: Database, threads: list[int]) -> dict[int, Intervals]:
    """Return {globalTid: intervals on a CPU, ns}, each from a switch onto a CPU to the thread's next switch."""
    if not threads:
        return {}
    table = database.query("context_switches", threads=json.dumps(threads))
    # `numbers` instead of to_numpy, which would import pandas.
    thread, moment, switches_in = (numbers(table[name]) for name in ("thread", "start_ns", "is_in"))
    order = np.lexsort((moment, thread))
    thread, moment, switches_in = thread[order], moment[order], switches_in[order].astype(bool)
    stays = np.flatnonzero(switches_in[:-1] & (thread[1:] == thread[:-1]))
    on_cpu = {}
    for low, high in runs(thread[stays]):
        own = stays[low:high]
        on_cpu[int(thread[own[0]])] = (moment[own].astype(np.int64), moment[own + 1].astype(np.int64))
    return on_cpu
