"""Converts batches of tables to integer columns: names become codes, and their classification becomes flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.string_ids import NameIds, StringNames
from taxbreak_nsys.read.table_rows import TableRows

Convert = Callable[[pa.Table], TableRows]
"""Converts a batch of a query's result to rows."""

_WITH_DOMAIN = "\x01"
"""First character of a text that also encodes the domain and the registered string (`sql/nvtx_ranges.sql`)."""
_OF_OTHER_THREAD = "\x02"
"""First character of a text that also encodes the thread (`sql/nvtx_ranges_of_thread.sql`)."""
_MOST_TEXTS = 100_000

RANGE_COLUMNS = ("start", "end", "thread", "name")
RANGE_FLAGS = ("is_operator", "is_library")


def _numbers(table: pa.Table, **columns: str) -> dict[str, Ints]:
    return {name: arrow_codes.numbers(table[column]) for name, column in columns.items()}


def _threads(table: pa.Table, thread: int | None) -> Ints:
    """Return the thread of each row; queries for a single `thread` have no such column."""
    return arrow_codes.numbers(table["thread"]) if thread is None else np.full(len(table), thread, np.int64)


def api_rows(database: Database, names: StringNames, thread: int | None) -> Convert:
    """Return the converter for `api_calls`: times, thread, correlation id, and `name` without its version suffix.

    With `thread`, it is the converter for `api_calls_of_thread`. For `api_calls_with_chains` the rows also have
    `callchain_id` (-1: no stack).
    """
    ids = NameIds(database, names, name_rules.api_name)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(table, start="start_ns", end="end_ns", correlation_id="correlation_id")
        if "callchain_id" in table.column_names:
            rows["callchain_id"] = arrow_codes.numbers(table["callchain_id"])
        return TableRows(
            rows | {"thread": _threads(table, thread), "name": ids.codes(arrow_codes.numbers(table["name_id"]))}
        )

    return convert


def op_rows(database: Database, names: StringNames, kind: int) -> Convert:
    """Return the converter for a table of device operations of one kind: times, process, stream, name, bytes.

    Two columns start as zeros for the measurement in windows: `done` flags counted operations, and `wait` is the time
    (ns) that a communication kernel waits for slower ranks.
    """
    ids = NameIds(database, names)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(
            table, start="start_ns", end="end_ns", process="process", device="device", context="context",
            stream="stream", correlation_id="correlation_id",
        )  # fmt: skip
        rows["name"] = ids.codes(arrow_codes.numbers(table["name_id"]))
        rows["node_blocks"] = arrow_codes.numbers(table["node_blocks"])
        sized = "bytes" in table.column_names
        rows["bytes"] = arrow_codes.numbers(table["bytes"]) if sized else np.zeros(len(table), np.int64)
        state = {"kind": np.full(len(table), kind, np.int64), "done": np.zeros(len(table), bool)}
        state["wait"] = np.zeros(len(table), np.int64)
        directed = "from_host" in table.column_names
        state["from_host"] = arrow_codes.numbers(table["from_host"]) == 1 if directed else np.zeros(len(table), bool)
        return TableRows(state | rows)

    return convert


def host_rows(table: pa.Table, flag: Flags) -> TableRows:
    """Return host intervals as rows: times, `thread`, and `flag`, whose meaning `HostCalls` explains."""
    return TableRows(_numbers(table, start="start_ns", end="end_ns", thread="thread") | {"flag": flag})


def os_rows(database: Database, thread: int | None) -> Convert:
    """Return the converter for `os_calls` to rows as in `host_rows`; `flag` is set for calls that wait.

    With `thread`, it is the converter for `os_calls_of_thread`.
    """
    names = StringNames()
    ids = NameIds(database, names)
    waits = np.zeros(0, bool)

    def convert(table: pa.Table) -> TableRows:
        nonlocal waits
        rows = _numbers(table, start="start_ns", end="end_ns")
        rows["thread"] = _threads(table, thread)
        name = ids.codes(arrow_codes.numbers(table["name_id"]))
        if len(waits) < len(names):
            waits = np.array([name_rules.is_os_wait(function) for function in names.all], bool)
        return TableRows(rows | {"flag": waits[name] if len(name) else name.astype(bool)})

    return convert


class Domains:
    """The NVTX domains of a report, and the CUDA libraries found among its ranges.

    The domain names are read when the first range outside the default domain turns up: many reports have no such
    range, and reading the names takes a scan over all ranges.
    """

    def __init__(self, database: Database) -> None:
        """Read the names from a report, later and on a separate connection."""
        self.libraries: set[str] = set()
        """Libraries found by `judge` so far, by the names of their domains."""
        self._database, self._lock = database, Lock()
        self._named: dict[tuple[int, int], str] | None = None

    @property
    def asked(self) -> bool:
        """Whether the domain names have been read, because a range outside the default domain turned up."""
        return self._named is not None

    @property
    def named(self) -> dict[tuple[int, int], str]:
        """The domain names by (process, domain id); the first access reads them."""
        with self._lock:
            if self._named is None:
                with self._database.sibling() as other:
                    rows = other.query("nvtx_domains").to_pylist()
                self._named = {(row["process"], row["domain_id"]): str(row["name"]) for row in rows}
            return self._named

    def of_libraries(self) -> list[int]:
        """Return the domain ids that belong to a library in every process; empty until the names have been read."""
        if not self.asked:
            return []
        verdicts: dict[int, bool] = {}
        for (_, domain), name in self.named.items():
            verdicts[domain] = verdicts.get(domain, True) and name_rules.is_library_domain(name)
        return [domain for domain, verdict in verdicts.items() if verdict and domain]

    def judge(self, thread: Ints, domain: Ints, name: Ints, names: tuple[str, ...]) -> Flags:
        """Flag the ranges of CUDA libraries (method section 4, evidence ranges) and add to `libraries`."""
        is_library = np.zeros(len(thread), bool)
        own = np.flatnonzero(domain)
        if not len(own):
            return is_library
        named = self.named
        process = thread[own] & PROCESS_MASK
        key, sample = arrow_codes.row_codes(process, domain[own])
        for code, first in enumerate(own[sample].tolist()):
            members = own[key == code] if len(sample) > 1 else own
            domain_name = named.get((int(thread[first] & PROCESS_MASK), int(domain[first])), "")
            if domain_name:
                if not name_rules.is_library_domain(domain_name):
                    continue
                is_library[members] = True
                self.libraries.add(domain_name)
            else:
                # The capture began after the domain was created, so its name is unknown: judge by the ranges' texts.
                texts = np.unique(name[members])
                libraries = {text: name_rules.library_of_text(names[text]) for text in texts.tolist()}
                marked = [text for text, library in libraries.items() if library]
                is_library[members] = np.isin(name[members], marked)
                self.libraries |= {library for library in libraries.values() if library}
        return is_library


def range_rows(database: Database, names: StringNames, domains: Domains, thread: int | None) -> Convert:
    """Return the converter for `nvtx_ranges` to rows of RANGE_COLUMNS and RANGE_FLAGS.

    With `thread`, it is the converter for `nvtx_ranges_of_thread`.
    """
    texts = _Texts(database, names, -1 if thread is None else thread)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(table, start="start_ns", end="end_ns")
        name, operator, domain, of_thread = texts.classified(table["text"])
        rows["thread"] = of_thread if thread is not None else arrow_codes.numbers(table["thread"])
        is_library = domains.judge(rows["thread"], domain, name, names.all)
        return TableRows(rows | {"name": name, "is_operator": operator & ~is_library, "is_library": is_library})

    return convert


class _Texts:
    """Converts the texts of ranges to name codes, operator flags, domains and threads.

    The sequence numbers in an operator's text are not part of its name. Known texts are looked up with Arrow's hashing.
    """

    def __init__(self, database: Database, names: StringNames, thread: int) -> None:
        """`thread` is that of texts that encode no other."""
        self._database, self._thread = database, thread
        self._names, self._registered = names, StringNames()
        self._ids = NameIds(database, self._registered)
        self._forget()

    def _forget(self) -> None:
        self._known = arrow_codes.string_array([]).cast(pa.string())
        self._name, self._domain, self._of_thread = (np.empty(0, np.int64) for _ in range(3))
        self._operator = np.empty(0, bool)

    def classified(self, column: pa.ChunkedArray) -> tuple[Ints, Flags, Ints, Ints]:
        """Return for each text: the code of its name, whether it is an operator, its domain id and its thread."""
        column = arrow_codes.texts(column).cast(pa.string())
        index = pc.index_in(column, value_set=self._known)
        if index.null_count:
            fresh = column.filter(pc.is_null(index))
            if len(self._known) > _MOST_TEXTS:
                # Nearly every row has a unique text, so caching does not help.
                self._forget()
                fresh = column
            self._learn(arrow_codes.of_texts(fresh)[1])
            index = pc.index_in(column, value_set=self._known)
        at = arrow_codes.numbers(index)
        return self._name[at], self._operator[at], self._domain[at], self._of_thread[at]

    def _learn(self, texts: Sequence[str]) -> None:
        own, domain = list(texts), np.zeros(len(texts), np.int64)
        of_thread = np.full(len(texts), self._thread, np.int64)
        registered: dict[int, int] = {}
        for place, whole in enumerate(texts):
            text = whole
            if text.startswith(_OF_OTHER_THREAD):
                thread, _, text = text[1:].partition(" ")
                of_thread[place] = self._database.cleaning.integer(thread, "thread", "nvtx_ranges")
                own[place] = text
            if text.startswith(_WITH_DOMAIN):
                domain_id, _, rest = text[1:].partition(" ")
                domain[place] = int(domain_id)
                if rest.startswith(" "):
                    own[place] = rest[1:]
                else:
                    registered[place] = int(rest)
        strings = self._ids.codes(np.array(list(registered.values()), np.int64)).tolist()
        registered_texts = self._registered.all
        for place, code in zip(registered, strings, strict=True):
            own[place] = registered_texts[code]
        name, operator = self._named(own)
        self._known = pa.concat_arrays([self._known, arrow_codes.string_array(texts).cast(pa.string())])
        self._name, self._operator = np.r_[self._name, name], np.r_[self._operator, operator]
        self._domain, self._of_thread = np.r_[self._domain, domain], np.r_[self._of_thread, of_thread]

    def _named(self, texts: Sequence[str]) -> tuple[Ints, Flags]:
        """Return the name code of each text and whether it is an operator; strips an operator's sequence numbers."""
        array = arrow_codes.string_array(texts)
        is_operator = pc.match_substring_regex(array, name_rules.OPERATOR_PATTERN)
        bare = pc.replace_substring_regex(array.filter(is_operator), name_rules.OPERATOR_TAIL, "")
        code, distinct = arrow_codes.of_texts(pa.chunked_array([pc.replace_with_mask(array, is_operator, bare)]))
        return self._names.codes(distinct)[code], arrow_codes.numbers(is_operator) != 0
