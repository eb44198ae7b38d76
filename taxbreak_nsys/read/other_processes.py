"""Processes beside the ones that call CUDA: what the front end and the scheduler of a serving engine leave behind."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import Intervals, union
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.read.database import Database

_TABLES = {"OSRT_API", "COMPOSITE_EVENTS", "SCHED_EVENTS"}


@dataclass(frozen=True)
class OtherProcess:
    """A process that calls no CUDA.

    `on_cpu` are the disjoint intervals (ns) in which one of its threads was on a CPU; None where the report has no
    context switches of it.
    """

    process: int
    names: tuple[str, ...]
    threads: int
    os_calls: int
    samples: int
    on_cpu: Intervals | None


def read_other_processes(database: Database) -> list[OtherProcess]:
    """Return the processes that call no CUDA and have OS calls, CPU samples or context switches in the report."""
    if not _TABLES & set(database.schema):
        return []
    rows = database.query("other_threads").to_pylist()
    by_process: dict[int, list[dict[str, object]]] = {}
    for row in rows:
        by_process.setdefault(row["thread"] & PROCESS_MASK, []).append(row)
    threads = [row["thread"] for row in rows if row["switches"]]
    switched = _on_cpu(database, threads)
    found = []
    for process, of_process in sorted(by_process.items()):
        intervals = [switched[row["thread"]] for row in of_process if row["thread"] in switched]
        on_cpu = None
        if intervals:
            on_cpu = union(np.concatenate([s for s, _ in intervals]), np.concatenate([e for _, e in intervals]))
        # the profiler's own threads say nothing of the process
        names = dict.fromkeys(str(row["name"]) for row in of_process if row["name"] and "NSys" not in str(row["name"]))
        found.append(
            OtherProcess(
                process=process,
                names=tuple(names),
                threads=len(of_process),
                os_calls=sum(int(row["os_calls"]) for row in of_process),  # type: ignore[call-overload]
                samples=sum(int(row["samples"]) for row in of_process),  # type: ignore[call-overload]
                on_cpu=on_cpu,
            )
        )
    return found


def _on_cpu(database: Database, threads: list[int]) -> dict[int, Intervals]:
    """Return by thread when it was on a CPU, between switches that the report has."""
    if not threads:
        return {}
    table = database.query("context_switches", threads=json.dumps(threads))
    # not to_numpy: it imports pandas
    thread, moment, came_in = (numbers(table[name]) for name in ("thread", "start_ns", "is_in"))
    order = np.lexsort((moment, thread))
    thread, moment, came_in = thread[order], moment[order], came_in[order].astype(bool)
    # on a CPU from a switch that brings a thread in to its next one
    stays = np.flatnonzero(came_in[:-1] & (thread[1:] == thread[:-1]))
    found = {}
    for one in np.unique(thread[stays]).tolist():
        own = stays[thread[stays] == one]
        found[one] = (moment[own].astype(np.int64), moment[own + 1].astype(np.int64))
    return found
