"""Reads a report's columns: what `sql/` selects, sorted, with names as codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys import codes, words
from taxbreak_nsys.intervals import Flags, Ints
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.trace import PROCESS_MASK, ApiCalls, DeviceOps, HostCalls, Ranges, Trace, runs

UNKNOWN = "[unknown]"


def read_trace(database: Database) -> Trace:
    """Read the columns of a report; raises TaxbreakError where the file is damaged.

    The NVTX and OS tables are read on a second connection, in a thread of their own: the driver computes
    without the interpreter's lock.
    """
    with database.sibling() as other, ThreadPoolExecutor(1) as second:
        ranges_read = second.submit(_read_ranges, other)
        api, rows, becomes = _read_api(database)
        threads = api.thread[[low for low, _ in runs(api.thread)]].tolist()
        os_read = second.submit(_read_os_calls, other, threads)
        ops = _read_ops(database, rows, becomes)
        library_table = database.query("library_calls")
        overhead_table = database.query("overheads")
        ranges, libraries = ranges_read.result()
        os_calls = os_read.result()
    libraries |= set(_codes(library_table["library"])[1])
    library_calls = _host_calls(library_table, np.ones(len(library_table), bool))
    kind, kinds = _codes(overhead_table["kind"])
    of_profiler = spread(kinds, kind, lambda name: name == "profiler")
    overheads = _host_calls(overhead_table, of_profiler)
    return Trace(api, ops, ranges, library_calls, os_calls, overheads, frozenset(libraries - {""}))


def spread(names: tuple[str, ...], code: Ints, predicate: Callable[[str], bool]) -> Flags:
    """Judge each distinct name once and return the verdict for each code."""
    if not len(code):
        return np.zeros(0, bool)
    return np.fromiter(map(predicate, names), bool, len(names))[code]


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings: an empty result carries no type."""
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column if is_text else pc.cast(column, pa.string())


def _codes(column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """Return (codes, distinct strings) of a string column."""
    if not len(column):
        return np.empty(0, np.int64), ()
    encoded = pc.dictionary_encode(_strings(column).combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return codes.numbers(encoded.indices), tuple(encoded.dictionary.to_pylist())


def _order(thread: Ints, start: Ints, end: Ints) -> Ints | None:
    """Return the order by (thread, start, longest first), or None where it is that already."""
    same = thread[1:] == thread[:-1]
    rising = (thread[1:] > thread[:-1]) | (
        same & ((start[1:] > start[:-1]) | ((start[1:] == start[:-1]) & (end[1:] <= end[:-1])))
    )
    return None if bool(rising.all()) else np.lexsort((-end, start, thread))


def _names(database: Database, name_id: Ints) -> tuple[Ints, tuple[str, ...]]:
    """Return (codes, distinct names) for StringIds ids; an id without a string is named `[unknown]`."""
    code, ids = codes.distinct(name_id)
    table = database.query("event_names", ids=json.dumps(ids[ids >= 0].tolist()))
    strings = dict(zip(codes.numbers(table["name_id"]).tolist(), _strings(table["name"]).to_pylist(), strict=True))
    names: dict[str, int] = {}
    to_code = [names.setdefault(strings.get(value, UNKNOWN), len(names)) for value in ids.tolist()]
    return np.array(to_code, np.int64)[code] if len(code) else code, tuple(names)


def _read_api(database: Database) -> tuple[ApiCalls, Ints, Ints]:
    """Return the calls, and for finding them by row: sorted rowids and the call that each row became."""
    table = database.query("api_calls")
    start, end, thread = (codes.numbers(table[c]) for c in ("start_ns", "end_ns", "thread"))
    row = codes.numbers(table["api_row"])
    columns = [codes.numbers(table[c]) for c in ("correlation_id", "callchain_id", "name_id")]
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
    name, spelt = _names(database, columns[2])
    api_names: dict[str, int] = {}
    to_api = np.array([api_names.setdefault(words.api_name(n), len(api_names)) for n in spelt], np.int64)
    if np.any(row[1:] < row[:-1]):
        by_row = np.argsort(row, kind="stable")
        row, becomes = row[by_row], becomes[by_row]
    name = to_api[name] if len(name) else name
    return ApiCalls(start, end, thread, columns[0], columns[1], name, tuple(api_names)), row, becomes


def _read_ops(database: Database, rows: Ints, becomes: Ints) -> DeviceOps:
    table = database.query("device_ops")
    column = {name: codes.numbers(table[name]) for name in table.column_names}
    kind, row = column["kind"], column["op_row"]
    again = np.r_[False, (kind[1:] == kind[:-1]) & (row[1:] == row[:-1])] if len(row) else np.empty(0, bool)
    if again.any():
        # calls that share a correlation id: the first stands for them; nested ones fold into one call anyway
        column = {name: values[~again] for name, values in column.items()}
    api_row = column["api_row"]
    at = np.minimum(np.searchsorted(rows, api_row), max(len(rows) - 1, 0))
    api = np.where(api_row >= 0, becomes[at], -1) if len(rows) else np.full(len(api_row), -1, np.int64)
    name, spelt = _names(database, column["name_id"])
    stream, _ = codes.row_codes(*(column[c] for c in ("process", "device", "context", "stream")))
    return DeviceOps(
        column["kind"], column["start_ns"], column["end_ns"], column["process"], column["device"],
        column["device_global"], stream,
        name, spelt, column["graph_node"] != 0, column["bytes"], api,
    )  # fmt: skip


@dataclass(frozen=True)
class _Texts:
    """Distinct NVTX texts: the name that stands for each, and what it is."""

    names: tuple[str, ...]
    name: Ints
    is_operator: Flags

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> _Texts:
        """Judge each distinct text once, in columns: numbered operators give a text each."""
        array = codes.strings(texts)
        is_operator = pc.match_substring_regex(array, words.OPERATOR_PATTERN)
        bare = pc.replace_substring_regex(array.filter(is_operator), words.OPERATOR_TAIL, "")
        name, names = _codes(pa.chunked_array([pc.replace_with_mask(array, is_operator, bare)]))
        return cls(names, name, codes.numbers(is_operator) != 0)


def _read_ranges(database: Database) -> tuple[Ranges, set[str]]:
    """Return the ranges, and the libraries that have some."""
    table = database.query("nvtx_ranges")
    start, end, thread, domain_id = (codes.numbers(table[c]) for c in ("start_ns", "end_ns", "thread", "domain_id"))
    code, texts = _codes(table["text"])
    text_id = codes.numbers(table["text_id"])
    del table
    if np.any(text_id >= 0):
        registered, names = _names(database, text_id)
        code = np.where(text_id >= 0, registered + len(texts), code)
        texts = texts + names
    judged = _Texts.of(texts)
    name = judged.name[code] if len(code) else code
    is_operator = judged.is_operator[code] if len(code) else np.empty(0, bool)
    is_library, libraries = _library_ranges(database, thread, domain_id, name, judged.names)
    order = _order(thread, start, end)
    if order is not None:
        start, end, thread, name = start[order], end[order], thread[order], name[order]
        is_operator, is_library = is_operator[order], is_library[order]
    return Ranges(start, end, thread, name, judged.names, is_operator & ~is_library, is_library), libraries


def _library_ranges(
    database: Database, thread: Ints, domain_id: Ints, name: Ints, names: tuple[str, ...]
) -> tuple[Flags, set[str]]:
    """Tell which ranges are a library's (method section 4, evidence ranges), and name those libraries."""
    is_library, libraries = np.zeros(len(thread), bool), set[str]()
    own = np.flatnonzero(domain_id)
    if not len(own):
        return is_library, libraries
    domains = {
        (row["process"], row["domain_id"]): str(row["name"]) for row in database.query("nvtx_domains").to_pylist()
    }
    process = thread[own] & PROCESS_MASK
    key, sample = codes.row_codes(process, domain_id[own])
    for code, first in enumerate(own[sample].tolist()):
        of_domain = own[key == code]
        domain = domains.get((int(thread[first] & PROCESS_MASK), int(domain_id[first])), "")
        if domain:
            if words.is_library_domain(domain):
                is_library[of_domain] = True
                libraries.add(domain)
            continue
        # a capture that began after the domain was created: the texts tell
        is_library[of_domain] = spread(names, name[of_domain], lambda n: words.library_of_text(n) is not None)
        held = np.unique(name[of_domain[is_library[of_domain]]])
        libraries |= {words.library_of_text(names[c]) or "" for c in held.tolist()}
    return is_library, libraries


def _read_os_calls(database: Database, threads: list[int]) -> HostCalls:
    """Return the OS calls of some threads; the flag says which wait."""
    table = database.query("os_calls", threads=json.dumps(threads))
    name, names = _names(database, codes.numbers(table["name_id"]))
    return _host_calls(table, spread(names, name, words.is_os_wait))


def _host_calls(table: pa.Table, flag: Flags) -> HostCalls:
    start, end, thread = (codes.numbers(table[c]) for c in ("start_ns", "end_ns", "thread"))
    order = _order(thread, start, end)
    if order is not None:
        start, end, thread, flag = start[order], end[order], thread[order], flag[order]
    return HostCalls(start, end, thread, flag)
