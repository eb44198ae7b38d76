"""Reads a report's tables into a `Trace`: rows sorted, nested API calls merged, operations joined with launch calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.intervals import FOREVER, Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.trace_columns import (
    COPY,
    GRAPH,
    KERNEL,
    PROCESS_MASK,
    SET,
    ApiCalls,
    DeviceOps,
    HostCalls,
    Ranges,
    Trace,
    pid,
    runs,
)
from taxbreak_nsys.read import conversion
from taxbreak_nsys.read.database import BATCH_ROWS, Database
from taxbreak_nsys.read.string_ids import UNKNOWN, StringNames
from taxbreak_nsys.read.table_rows import TableRows
from taxbreak_nsys.read.table_stream import AHEAD_FROM, Stream, converted

TABLES = (
    "CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY",
    "CUPTI_ACTIVITY_KIND_MEMSET", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE", "NVTX_EVENTS", "OSRT_API",
)  # fmt: skip
"""The tables that are read as streams, in the order of time."""
_OPS = {KERNEL: "kernels", COPY: "memory_copies", SET: "memory_sets", GRAPH: "graph_runs"}
_CALLS_PER_ID = 4
_FEW_IDS = 16
_TABLE = {
    "api_calls": "CUPTI_ACTIVITY_KIND_RUNTIME", "api_calls_of_thread": "CUPTI_ACTIVITY_KIND_RUNTIME",
    "api_calls_with_chains": "CUPTI_ACTIVITY_KIND_RUNTIME",
    "kernels": "CUPTI_ACTIVITY_KIND_KERNEL",
    "memory_copies": "CUPTI_ACTIVITY_KIND_MEMCPY", "memory_sets": "CUPTI_ACTIVITY_KIND_MEMSET",
    "graph_runs": "CUPTI_ACTIVITY_KIND_GRAPH_TRACE", "nvtx_ranges": "NVTX_EVENTS",
    "nvtx_ranges_of_thread": "NVTX_EVENTS", "os_calls": "OSRT_API",
    "os_calls_of_thread": "OSRT_API",
}  # fmt: skip


def read_trace(database: Database, threads: Sequence[int], *, launches_only: bool = False) -> Trace:
    """Read a whole report; OS calls only of `threads` (normally `api_threads`).

    With `launches_only`, NVTX ranges and OS calls are not read and stay empty. Raises TaxbreakError where the file is
    damaged.
    """
    with Reader(database, threads, launches_only=launches_only) as reader:
        for stream in reader.streams:
            stream.until(FOREVER)
        return reader.assemble().trace


def api_threads(database: Database) -> list[int]:
    """Return the globalTids of the threads that call CUDA, sorted."""
    if database.layout.cuda_threads is not None:
        return list(database.layout.cuda_threads)
    return sorted(arrow_codes.numbers(database.query("api_threads")["thread"]).tolist())


@dataclass(frozen=True)
class Assembled:
    """A trace, and the index of the API call (`Trace.api`) that each of `rows` of `Reader.api` became."""

    trace: Trace
    call_of_row: Ints
    rows: Ints | slice
    """Indices into `Reader.api.rows`, parallel to `call_of_row`."""
    op_rows: TableRows
    """The rows of `Trace.ops`, in the same order: kernels first."""


class Reader:
    """The tables of one report as streams with common name codes; a context manager.

    `api`, `ranges`, `os_calls` and `ops` (by kind of operation) are streams. Library calls and overheads are few and
    are read at once. OS calls are read only for `threads`.
    """

    def __init__(
        self,
        database: Database,
        threads: Sequence[int],
        domains: conversion.Domains | None = None,
        batch: int = BATCH_ROWS,
        sorted_tables: frozenset[str] = frozenset(),
        *,
        launches_only: bool = False,
    ) -> None:
        """Open the streams, `batch` rows at a time; SQLite sorts the `sorted_tables` by time.

        `domains` can be reused from an earlier reader. With `launches_only`, no range and no OS call is read.
        """
        self._database, self._stack, self._sorted_tables = database, ExitStack(), sorted_tables
        self.threads, self.batch = threads, batch
        self.api_names, self.op_names, self.range_names = StringNames(), StringNames(), StringNames()
        self.op_names.code(UNKNOWN)
        self._places: dict[tuple[int, ...], int] = {}
        self.domains = domains or conversion.Domains(database)
        self._device_map = self._read_device_map()
        self.library_calls, libraries = self._read_library_calls()
        self.domains.libraries |= libraries
        self.overheads = self._read_overheads()
        only_thread = threads[0] if len(threads) == 1 else None
        try:
            calls = partial(conversion.api_rows, names=self.api_names, thread=only_thread)
            if "CUDA_CALLCHAINS" in database.schema:
                with_thread = partial(conversion.api_rows, names=self.api_names, thread=None)
                self.api = self._open("api_calls_with_chains", with_thread)
            elif only_thread is None:
                self.api = self._open("api_calls", calls)
            else:
                self.api = self._open("api_calls_of_thread", calls, thread=str(only_thread))
            self.ops = {
                kind: self._open(subject, partial(conversion.op_rows, names=self.op_names, kind=kind))
                for kind, subject in _OPS.items()
            }
            if launches_only:
                no_ranges = TableRows.empty(conversion.RANGE_COLUMNS, conversion.RANGE_FLAGS)
                self.ranges = Stream("NVTX_EVENTS", (rows for rows in (no_ranges,)), ahead=False)
                no_calls = TableRows.empty(("start", "end", "thread"), ("flag",))
                self.os_calls = Stream("OSRT_API", (rows for rows in (no_calls,)), ahead=False)
                return
            ranges = partial(conversion.range_rows, names=self.range_names, domains=self.domains, thread=only_thread)
            rows = partial(conversion.os_rows, thread=only_thread)
            if only_thread is None:
                self.ranges = self._open("nvtx_ranges", ranges, all="1", domains="[]")
                self.os_calls = self._open("os_calls", rows, threads=json.dumps(list(threads)))
            else:
                self.ranges = self._open("nvtx_ranges_of_thread", ranges, thread=str(only_thread))
                self.os_calls = self._open("os_calls_of_thread", rows, thread=str(only_thread))
        except BaseException:
            self._stack.close()
            raise

    @property
    def streams(self) -> list[Stream]:
        """All streams of the report."""
        return [self.api, *self.ops.values(), self.ranges, self.os_calls]

    def _open(self, subject: str, converter: Callable[[Database], conversion.Convert], **parameters: str) -> Stream:
        table = _TABLE[subject]
        ahead, sorts = self._database.layout.rows.get(table, 0) >= AHEAD_FROM, table in self._sorted_tables
        base = self._database
        if ahead or sorts:
            base = self._stack.enter_context(self._database.sibling(sorts=sorts))
        rows = converted(base, subject, converter(base), self.batch, in_order=sorts, **parameters)
        stream = Stream(table, rows, ahead=ahead)
        self._stack.callback(stream.close)
        return stream

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading and close the connections."""
        self._stack.close()

    def _read_device_map(self) -> dict[tuple[int, int], int]:
        table = self._database.query("cuda_devices")
        columns = [arrow_codes.numbers(table[name]).tolist() for name in ("process_id", "device", "device_global")]
        device_map: dict[tuple[int, int], int] = {}
        for process, device, device_global in zip(*columns, strict=True):
            device_map.setdefault((process, device), device_global)
        return device_map

    def _read_library_calls(self) -> tuple[TableRows, set[str]]:
        table = self._database.query("library_calls")
        libraries = set(arrow_codes.of_texts(table["library"])[1]) - {""}
        return conversion.host_rows(table, np.ones(len(table), bool)), libraries

    def _read_overheads(self) -> TableRows:
        table = self._database.query("overheads")
        kind, kinds = arrow_codes.of_texts(table["kind"])
        of_profiler = np.array([name == "profiler" for name in kinds], bool)
        return conversion.host_rows(table, of_profiler[kind] if len(kind) else np.zeros(0, bool))

    def assemble(self, until: int = FOREVER) -> Assembled:
        """Return the rows held by the streams as a trace; host rows only if they start before `until` (ns)."""
        rows, places = self.api.before(until)
        api, call_of_row = _merged_calls(rows, self.api_names.all)
        op_rows = TableRows.joined([stream.rows for stream in self.ops.values()])
        ops = self._device_ops(op_rows, rows, call_of_row)
        ranges = _sorted(self.ranges.before(until)[0])
        trace = Trace(
            api=api,
            ops=ops,
            ranges=Ranges(
                start=ranges["start"],
                end=ranges["end"],
                thread=ranges["thread"],
                name=ranges["name"],
                names=self.range_names.all,
                is_operator=ranges.flag("is_operator"),
                is_library=ranges.flag("is_library"),
            ),
            library_calls=_host_calls(self.library_calls),
            os_calls=_host_calls(self.os_calls.before(until)[0]),
            overheads=_host_calls(self.overheads),
            libraries=frozenset(self.domains.libraries),
        )
        return Assembled(trace=trace, call_of_row=call_of_row, rows=places, op_rows=op_rows)

    def _device_ops(self, ops: TableRows, api: TableRows, call_of_row: Ints) -> DeviceOps:
        """Return the operations, each joined with the first API call that has its process and correlation id.

        Raises TaxbreakError where so many calls share an id that joining them would mean nothing.
        """
        if shared_ids(api["thread"] & PROCESS_MASK, api["correlation_id"]):
            raise TaxbreakError(
                f"{self._database.shown}: damaged (correlation ids that far more than one CUDA call has); export the "
                "report again"
            )
        row = first_rows(ops["process"], ops["correlation_id"], api["thread"] & PROCESS_MASK, api["correlation_id"])
        call = np.where(row >= 0, call_of_row[row], -1) if len(call_of_row) else row
        place, sample = arrow_codes.row_codes(*(ops[name] for name in ("process", "device", "context", "stream")))
        columns = [ops[name][sample].tolist() for name in ("process", "device", "context", "stream")]
        keys = list(zip(*columns, strict=True))
        stream = np.array([self._places.setdefault(key, len(self._places)) for key in keys], np.int64)
        device_global = np.array([self._device_map.get((pid(key[0]), key[1]), key[1]) for key in keys], np.int64)
        return DeviceOps(
            kind=ops["kind"],
            start=ops["start"],
            end=ops["end"],
            process=ops["process"],
            device=ops["device"],
            device_global=device_global[place] if len(place) else place,
            stream=stream[place] if len(place) else place,
            name=ops["name"],
            names=self.op_names.all,
            graph_node=ops["node_blocks"] != 0,
            node_blocks=ops["node_blocks"],
            bytes=ops["bytes"],
            from_host=ops["from_host"] != 0,
            api=call,
        )


def first_rows(process: Ints, number: Ints, of_process: Ints, of_number: Ints) -> Ints:
    """Return for each (process, number) the index of the first equal pair in (of_process, of_number), -1 for none."""
    rows = np.full(len(number), -1, np.int64)
    if not len(of_number) or not len(number):
        return rows
    low, high = int(of_process.min()), int(of_process.max())
    processes = [low] if low == high else np.unique(of_process).tolist()
    for current in processes:
        own = None if len(processes) == 1 else np.flatnonzero(of_process == current)
        known = of_number if own is None else of_number[own]
        order = None
        if np.any(known[1:] < known[:-1]):
            order = np.argsort(known, kind="stable")
            known = known[order]
        at = np.searchsorted(known, number, side="left")
        inside = np.minimum(at, len(known) - 1)
        hit = (process == current) & (known[inside] == number)
        place = inside[hit]
        place = place if order is None else order[place]
        rows[hit] = place if own is None else own[place]
    return rows


def shared_ids(process: Ints, number: Ints) -> bool:
    """Return whether calls share ids far more often than in sound reports, so that joining fails."""
    with_id = np.flatnonzero(number >= 0)
    # Cheap test first: ids normally increase, so each new maximum is a distinct id. If inconclusive, count by hashing.
    highest = np.maximum.accumulate(number[with_id])
    if not len(with_id) or np.sum(highest[1:] > highest[:-1]) * _CALLS_PER_ID > len(with_id):
        return False
    _, sample = arrow_codes.row_codes(process[with_id], number[with_id])
    return len(with_id) > _CALLS_PER_ID * max(len(sample), _FEW_IDS)


def _order(thread: Ints, start: Ints, end: Ints) -> Ints | None:
    """Return the sort order by (thread, start, longest first), or None if the rows are sorted already."""
    same = thread[1:] == thread[:-1]
    rising = (thread[1:] > thread[:-1]) | (
        same & ((start[1:] > start[:-1]) | ((start[1:] == start[:-1]) & (end[1:] <= end[:-1])))
    )
    return None if bool(rising.all()) else np.lexsort((-end, start, thread))


def _sorted(rows: TableRows) -> TableRows:
    order = _order(rows["thread"], rows["start"], rows["end"])
    return rows if order is None else rows.take(order)


def _merged_calls(rows: TableRows, names: tuple[str, ...]) -> tuple[ApiCalls, Ints]:
    """Return the calls, nested calls of a thread merged into the outermost, and the index of the call for each row."""
    order = _order(rows["thread"], rows["start"], rows["end"])
    calls = rows if order is None else rows.take(order)
    end, thread = calls["end"], calls["thread"]
    outer = np.ones(len(calls), bool)
    for low, high in runs(thread):
        reach = np.maximum.accumulate(end[low:high])
        outer[low + 1 : high] = end[low + 1 : high] > reach[:-1]
    becomes = np.cumsum(outer) - 1
    if order is not None:
        unsorted = np.empty(len(order), np.int64)
        unsorted[order] = becomes
        becomes = unsorted
    if not outer.all():
        calls = calls.take(outer)
    chain = np.full(len(calls), -1, np.int64)
    if "callchain_id" in rows.columns:
        # Of the rows merged into a call, the first stack counts: in reverse order it is written last and stays.
        known = np.flatnonzero(rows["callchain_id"] >= 0)[::-1]
        chain[becomes[known]] = rows["callchain_id"][known]
    merged = ApiCalls(
        start=calls["start"],
        end=calls["end"],
        thread=calls["thread"],
        callchain_id=chain,
        name=calls["name"],
        names=names,
    )
    return merged, becomes


def _host_calls(rows: TableRows) -> HostCalls:
    rows = _sorted(rows)
    return HostCalls(rows["start"], rows["end"], rows["thread"], rows.flag("flag"))
