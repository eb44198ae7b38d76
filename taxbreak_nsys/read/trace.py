"""The columns of one report: what every later step works on.

All times are int64 nanoseconds of the session, threads are globalTid, processes `thread & ~0xFFFFFF`.
Names are codes into a tuple of distinct strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys import words
from taxbreak_nsys.intervals import Flags, Ints
from taxbreak_nsys.read.database import Database

PROCESS_MASK = ~0xFFFFFF

KERNEL, COPY, SET, GRAPH = range(4)
"""Kinds of device operations, as `sql/device_ops.sql` numbers them."""


def pid(identifier: int) -> int:
    """Return the process id held in a globalTid or globalPid."""
    return (identifier >> 24) & 0xFFFFFF


def tid(thread: int) -> int:
    """Return the thread id held in a globalTid."""
    return thread & 0xFFFFFF


@dataclass(frozen=True)
class ApiCalls:
    """CUDA API calls, sorted by (thread, start); calls inside another of their thread are folded into it."""

    start: Ints
    end: Ints
    thread: Ints
    correlation_id: Ints
    callchain_id: Ints
    name: Ints
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of calls."""
        return len(self.start)

    def named(self, predicate: np.ndarray) -> Flags:
        """Spread a flag a name over the calls."""
        return predicate[self.name] if len(predicate) else np.zeros(len(self), bool)

    def thread_slice(self, thread: int) -> slice:
        """Return the slice of one thread's calls."""
        return thread_slice(self.thread, thread)


@dataclass(frozen=True)
class DeviceOps:
    """Device operations; `api` is the index of the launching call, -1 where the report has none."""

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
    bytes: Ints
    api: Ints
    """`stream` is a code a (process, device, context, stream id)."""

    def __len__(self) -> int:
        """Return the number of operations."""
        return len(self.start)

    @cached_property
    def computes(self) -> Flags:
        """Which operations are kernels or graphs: what T_DeviceActive is made of (method section 5)."""
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
        """Return the number of ranges."""
        return len(self.start)


@dataclass(frozen=True)
class HostCalls:
    """Host intervals of one sort (library calls, OS calls, overheads), sorted by (thread, start)."""

    start: Ints
    end: Ints
    thread: Ints
    flag: Flags
    """What the flag says depends on the sort: an OS call that waits, an overhead of the profiler."""


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
    """Names of the libraries that have ranges or calls in the report, as their domains are spelt."""


def thread_slice(threads: Ints, thread: int) -> slice:
    """Return the slice of `thread` in a sorted array of threads."""
    low, high = np.searchsorted(threads, [thread, thread + 1])
    return slice(int(low), int(high))


def _ints(column: pa.ChunkedArray) -> Ints:
    if not pa.types.is_integer(column.type):
        column = pc.cast(column, pa.int64())
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _codes(column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """Return (codes, distinct strings) of a string column."""
    if not len(column) or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        # an empty result carries no type
        return np.zeros(len(column), np.int64), ("",) if len(column) else ()
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64), tuple(encoded.dictionary.to_pylist())


def _order(thread: Ints, start: Ints, end: Ints) -> Ints | None:
    """Return the order by (thread, start, longest first), or None where it is that already."""
    same = thread[1:] == thread[:-1]
    rising = (thread[1:] > thread[:-1]) | (
        same & ((start[1:] > start[:-1]) | ((start[1:] == start[:-1]) & (end[1:] <= end[:-1])))
    )
    return None if bool(rising.all()) else np.lexsort((-end, start, thread))


class _NameTable:
    """Turns columns of StringIds ids into codes of distinct (possibly rewritten) names."""

    def __init__(self, table: pa.Table) -> None:
        ids = _ints(table["name_id"])
        strings = table["name"].to_pylist() if len(ids) else []
        order = np.argsort(ids)
        self._ids = ids[order]
        self._strings = [str(strings[i]) for i in order]

    def codes(self, name_id: Ints) -> tuple[Ints, tuple[str, ...]]:
        """Return (codes, distinct names); an id without a string is named `[unknown]`."""
        distinct = pc.dictionary_encode(pa.array(name_id))
        names: dict[str, int] = {}
        to_code = np.empty(len(distinct.dictionary), np.int64)
        for position, value in enumerate(distinct.dictionary.to_pylist()):
            found = int(np.searchsorted(self._ids, value))
            known = found < len(self._ids) and int(self._ids[found]) == value
            to_code[position] = names.setdefault(self._strings[found] if known else "[unknown]", len(names))
        return to_code[distinct.indices.to_numpy()] if len(name_id) else np.empty(0, np.int64), tuple(names)


def _read_api(database: Database, names: _NameTable) -> tuple[ApiCalls, Ints, Ints]:
    """Return the calls, and for finding them by row: sorted rowids and the call that each row became."""
    table = database.query("api_calls")
    start, end, thread = (_ints(table[c]) for c in ("start_ns", "end_ns", "thread"))
    row = _ints(table["api_row"])
    columns = [_ints(table[c]) for c in ("correlation_id", "callchain_id", "name_id")]
    order = _order(thread, start, end)
    if order is not None:
        start, end, thread, row = start[order], end[order], thread[order], row[order]
        columns = [column[order] for column in columns]
    outer = np.ones(len(start), bool)
    for low, high in runs(thread):
        reach = np.maximum.accumulate(end[low:high])
        outer[low + 1 : high] = end[low + 1 : high] > reach[:-1]
    becomes = np.cumsum(outer) - 1
    if not outer.all():
        start, end, thread = start[outer], end[outer], thread[outer]
        columns = [column[outer] for column in columns]
    name, spelt = names.codes(columns[2])
    api_names: dict[str, int] = {}
    to_api = np.array([api_names.setdefault(words.api_name(n), len(api_names)) for n in spelt], np.int64)
    by_row = np.argsort(row, kind="stable")
    calls = ApiCalls(start, end, thread, columns[0], columns[1], to_api[name] if len(name) else name, tuple(api_names))
    return calls, row[by_row], becomes[by_row]


def runs(values: Ints) -> list[tuple[int, int]]:
    """Return (low, high) of each run of equal neighbours."""
    if not len(values):
        return []
    edges = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True]).tolist()
    return list(pairwise(edges))


def _read_ops(database: Database, names: _NameTable, rows: Ints, becomes: Ints) -> DeviceOps:
    table = database.query("device_ops")
    column = {name: _ints(table[name]) for name in table.column_names}
    kind, row = column["kind"], column["op_row"]
    again = np.r_[False, (kind[1:] == kind[:-1]) & (row[1:] == row[:-1])] if len(row) else np.empty(0, bool)
    if again.any():
        # calls that share a correlation id: the first stands for them; nested ones fold into one call anyway
        column = {name: values[~again] for name, values in column.items()}
    stream_key = np.stack([column[c] for c in ("process", "device", "context", "stream")])
    if stream_key.shape[1]:
        _, stream = np.unique(stream_key, axis=1, return_inverse=True)
        stream = np.asarray(stream, np.int64).reshape(-1)
    else:
        stream = np.empty(0, np.int64)
    api_row = column["api_row"]
    at = np.searchsorted(rows, api_row)
    api = np.where(api_row >= 0, becomes[np.minimum(at, max(len(rows) - 1, 0))] if len(rows) else -1, -1)
    name, spelt = names.codes(column["name_id"])
    return DeviceOps(
        column["kind"], column["start_ns"], column["end_ns"], column["process"], column["device"],
        column["device_global"], stream, name, spelt, column["graph_node"] != 0, column["bytes"],
        np.asarray(api, np.int64),
    )  # fmt: skip


def _read_ranges(database: Database) -> tuple[Ranges, set[str]]:
    table = database.query("nvtx_ranges")
    start, end, thread, domain_id = (_ints(table[c]) for c in ("start_ns", "end_ns", "thread", "domain_id"))
    name, names = _codes(table["name"])
    domain, domains = _codes(table["domain"])
    is_operator = _ints(table["is_operator"]) != 0
    named = np.array([bool(d) for d in domains], bool)
    by_domain = np.array([words.is_library_domain(d) for d in domains], bool)
    by_text = np.array([words.library_of_text(n) is not None for n in names], bool)
    if len(start):
        is_library = by_domain[domain] | (~named[domain] & (domain_id != 0) & by_text[name])
    else:
        is_library = np.empty(0, bool)
    libraries = {domains[code] for code in np.unique(domain[is_library]) if domains[code]}
    libraries |= (
        {words.library_of_text(names[code]) or "" for code in np.unique(name[is_library & ~named[domain]])}
        if len(start)
        else set()
    )
    order = _order(thread, start, end)
    if order is not None:
        start, end, thread, name = start[order], end[order], thread[order], name[order]
        is_operator, is_library = is_operator[order], is_library[order]
    return Ranges(start, end, thread, name, names, is_operator & ~is_library, is_library), libraries


def _host_calls(table: pa.Table, flag: Flags) -> HostCalls:
    start, end, thread = (_ints(table[c]) for c in ("start_ns", "end_ns", "thread"))
    order = _order(thread, start, end)
    if order is not None:
        start, end, thread, flag = start[order], end[order], thread[order], flag[order]
    return HostCalls(start, end, thread, flag)


def read_trace(database: Database) -> Trace:
    """Read the columns of a report; raises TaxbreakError where the file is damaged."""
    names = _NameTable(database.query("event_names"))
    api, rows, becomes = _read_api(database, names)
    ops = _read_ops(database, names, rows, becomes)
    ranges, libraries = _read_ranges(database)

    library_table = database.query("library_calls")
    libraries |= set(_codes(library_table["library"])[1])
    library_calls = _host_calls(library_table, np.ones(len(library_table), bool))

    os_table = database.query("os_calls")
    os_name, os_names = names.codes(_ints(os_table["name_id"]))
    waits = np.array([words.is_os_wait(n) for n in os_names], bool)
    os_calls = _host_calls(os_table, waits[os_name] if len(os_name) else np.empty(0, bool))

    overhead_table = database.query("overheads")
    kind, kinds = _codes(overhead_table["kind"])
    of_profiler = np.array([k == "profiler" for k in kinds], bool)
    overheads = _host_calls(overhead_table, of_profiler[kind] if len(kind) else np.empty(0, bool))
    return Trace(api, ops, ranges, library_calls, os_calls, overheads, frozenset(libraries))
