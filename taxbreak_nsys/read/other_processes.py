"""Activity of processes that call no CUDA, such as the front end and the scheduler of a serving engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import Intervals, union
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.read.database import Database

_TABLES = {"OSRT_API", "COMPOSITE_EVENTS", "SCHED_EVENTS"}

_MOST_THREADS = 4096


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


def read_other_processes(
    database: Database, cuda_threads: Sequence[int], names: Mapping[int, str]
) -> list[OtherProcess]:
    """Return the processes without CUDA calls that have OS calls, CPU samples or context switches, by globalPid.

    `cuda_threads` are the globalTids of the threads that call CUDA, `names` the names of threads by globalTid.
    """
    if not _TABLES & set(database.schema):
        return []
    cuda_processes = {thread & PROCESS_MASK for thread in cuda_threads}
    found = numbers(database.query("event_threads")["thread"]).tolist()
    others = [thread for thread in found if thread & PROCESS_MASK not in cuda_processes][:_MOST_THREADS]
    if not others:
        return []
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
        on_cpu = None
        if intervals:
            on_cpu = union(np.concatenate([s for s, _ in intervals]), np.concatenate([e for _, e in intervals]))
        # Nsight Systems injects its own threads; their names do not describe the process.
        own_names = (names.get(row["thread"]) for row in thread_rows)
        processes.append(
            OtherProcess(
                process=process,
                names=tuple(dict.fromkeys(name for name in own_names if name and "NSys" not in name)),
                threads=len(thread_rows),
                os_calls=sum(row["os_calls"] for row in thread_rows),
                samples=sum(row["samples"] for row in thread_rows),
                on_cpu=on_cpu,
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
    for identifier in np.unique(thread[stays]).tolist():
        own = stays[thread[stays] == identifier]
        on_cpu[identifier] = (moment[own].astype(np.int64), moment[own + 1].astype(np.int64))
    return on_cpu
