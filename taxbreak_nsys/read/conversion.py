"""From a batch of a table to rows of integers: names as codes, what a name means as flags."""

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

_TOLD = "\x01"
"""The first character of a text that also carries its domain and registered text (`sql/nvtx_ranges.sql`)."""
_MOST_TEXTS = 100_000

RANGE_COLUMNS = ("start", "end", "thread", "name")
RANGE_FLAGS = ("is_operator", "is_library")


def _numbers(table: pa.Table, **columns: str) -> dict[str, Ints]:
    return {name: arrow_codes.numbers(table[column]) for name, column in columns.items()}


def _of_thread(table: pa.Table, thread: int | None) -> Ints:
    """Return the thread of each row; where only one thread calls CUDA, the rows do not hold it."""
    return arrow_codes.numbers(table["thread"]) if thread is None else np.full(len(table), thread, np.int64)


def api_rows(database: Database, names: StringNames, thread: int | None) -> Convert:
    """Return what turns `api_calls` into rows: times, thread, ids, `name` without its version.

    With a thread, it turns `api_calls_of_thread` into rows. There is a column `callchain_id` (-1: no stack) where the
    query has it (`api_calls_with_chains`).
    """
    ids = NameIds(database, names, name_rules.api_name)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(table, start="start_ns", end="end_ns", correlation_id="correlation_id")
        if "callchain_id" in table.column_names:
            rows["callchain_id"] = arrow_codes.numbers(table["callchain_id"])
        return TableRows(
            rows | {"thread": _of_thread(table, thread), "name": ids.codes(arrow_codes.numbers(table["name_id"]))}
        )

    return convert


def op_rows(database: Database, names: StringNames, kind: int) -> Convert:
    """Return what turns a table of device operations of one kind into rows: `kind`, times, where they ran.

    The flag `done` is for who reads in windows: the operation has been counted.
    """
    ids = NameIds(database, names)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(
            table, start="start_ns", end="end_ns", process="process", device="device", context="context",
            stream="stream", correlation_id="correlation_id",
        )  # fmt: skip
        rows["name"] = ids.codes(arrow_codes.numbers(table["name_id"]))
        rows["graph_node"] = arrow_codes.numbers(table["graph_node"])
        sized = "bytes" in table.column_names
        rows["bytes"] = arrow_codes.numbers(table["bytes"]) if sized else np.zeros(len(table), np.int64)
        state = {"kind": np.full(len(table), kind, np.int64), "done": np.zeros(len(table), bool)}
        # what of an operation waits for a slower rank, once its step has been measured
        state["wait"] = np.zeros(len(table), np.int64)
        return TableRows(state | rows)

    return convert


def host_rows(table: pa.Table, flag: Flags) -> TableRows:
    """Return host intervals of one sort as rows: times, `thread`, and a flag that means what the sort says."""
    return TableRows(_numbers(table, start="start_ns", end="end_ns", thread="thread") | {"flag": flag})


def os_rows(database: Database, thread: int | None) -> Convert:
    """Return what turns `os_calls` into rows as `host_rows` does; the flag says that the call waits.

    With a thread, it turns `os_calls_of_thread` into those.
    """
    names = StringNames()
    ids = NameIds(database, names)
    waits = np.zeros(0, bool)

    def convert(table: pa.Table) -> TableRows:
        nonlocal waits
        rows = _numbers(table, start="start_ns", end="end_ns")
        rows["thread"] = _of_thread(table, thread)
        name = ids.codes(arrow_codes.numbers(table["name_id"]))
        if len(waits) < len(names):
            waits = np.array([name_rules.is_os_wait(one) for one in names.all], bool)
        return TableRows(rows | {"flag": waits[name] if len(name) else name.astype(bool)})

    return convert


class Domains:
    """The NVTX domains of a report, and which libraries were met among its ranges.

    Their names are read when the first range of a domain turns up: in many reports none does, and looking for the
    names takes a walk over all ranges.
    """

    def __init__(self, database: Database) -> None:
        """Look names up in a report, on a connection of their own."""
        self.libraries: set[str] = set()
        """Grows as ranges are judged."""
        self._database, self._lock = database, Lock()
        self._named: dict[tuple[int, int], str] | None = None

    @property
    def asked(self) -> bool:
        """Whether a range of a domain has turned up."""
        return self._named is not None

    @property
    def named(self) -> dict[tuple[int, int], str]:
        """The names by (process, domain id)."""
        with self._lock:
            if self._named is None:
                with self._database.sibling() as other:
                    rows = other.query("nvtx_domains").to_pylist()
                self._named = {(row["process"], row["domain_id"]): str(row["name"]) for row in rows}
            return self._named

    def of_libraries(self) -> list[int]:
        """Return the domain ids that are a library's in every process that has them; none before one has turned up."""
        if not self.asked:
            return []
        verdicts: dict[int, bool] = {}
        for (_, domain), name in self.named.items():
            verdicts[domain] = verdicts.get(domain, True) and name_rules.is_library_domain(name)
        return [domain for domain, verdict in verdicts.items() if verdict and domain]

    def judge(self, thread: Ints, domain: Ints, name: Ints, names: tuple[str, ...]) -> Flags:
        """Return which ranges are a library's (method section 4, evidence ranges), and note the libraries."""
        is_library = np.zeros(len(thread), bool)
        own = np.flatnonzero(domain)
        if not len(own):
            return is_library
        named = self.named
        process = thread[own] & PROCESS_MASK
        key, sample = arrow_codes.row_codes(process, domain[own])
        for code, first in enumerate(own[sample].tolist()):
            of_domain = own[key == code] if len(sample) > 1 else own
            who = int(thread[first] & PROCESS_MASK)
            spelt = named.get((who, int(domain[first])), "")
            if spelt:
                if not name_rules.is_library_domain(spelt):
                    continue
                is_library[of_domain] = True
                self.libraries.add(spelt)
            else:
                # The capture began after the domain was created: its texts decide.
                texts = np.unique(name[of_domain])
                found = {code: name_rules.library_of_text(names[code]) for code in texts.tolist()}
                marked = [code for code, library in found.items() if library]
                is_library[of_domain] = np.isin(name[of_domain], marked)
                self.libraries |= {library for library in found.values() if library}
        return is_library


def range_rows(database: Database, names: StringNames, domains: Domains) -> Convert:
    """Return what turns `nvtx_ranges` into rows of RANGE_COLUMNS and RANGE_FLAGS."""
    judge = _Texts(database, names)

    def convert(table: pa.Table) -> TableRows:
        rows = _numbers(table, start="start_ns", end="end_ns", thread="thread")
        name, operator, domain = judge.of(table["text"])
        is_library = domains.judge(rows["thread"], domain, name, names.all)
        return TableRows(rows | {"name": name, "is_operator": operator & ~is_library, "is_library": is_library})

    return convert


class _Texts:
    """Turns the texts of ranges into name codes, operator flags and domains.

    An operator's numbers are not part of its name. Known texts are found by hashing, in columns.
    """

    def __init__(self, database: Database, names: StringNames) -> None:
        self._names, self._registered = names, StringNames()
        self._ids = NameIds(database, self._registered)
        self._forget()

    def _forget(self) -> None:
        self._known = arrow_codes.string_array([]).cast(pa.string())
        self._name, self._domain = np.empty(0, np.int64), np.empty(0, np.int64)
        self._operator = np.empty(0, bool)

    def of(self, column: pa.ChunkedArray) -> tuple[Ints, Flags, Ints]:
        """Return the name code of each text, whether it is an operator's, and its domain."""
        column = arrow_codes.texts(column).cast(pa.string())
        found = pc.index_in(column, value_set=self._known)
        if found.null_count:
            fresh = column.filter(pc.is_null(found))
            if len(self._known) > _MOST_TEXTS:
                # Nearly every row has a text of its own: the known ones do not help.
                self._forget()
                fresh = column
            self._learn(arrow_codes.of_texts(fresh)[1])
            found = pc.index_in(column, value_set=self._known)
        at = arrow_codes.numbers(found)
        return self._name[at], self._operator[at], self._domain[at]

    def _learn(self, texts: Sequence[str]) -> None:
        own, domain = list(texts), np.zeros(len(texts), np.int64)
        registered: dict[int, int] = {}
        for place, text in enumerate(texts):
            if text.startswith(_TOLD):
                of, _, rest = text[1:].partition(" ")
                domain[place] = int(of)
                if rest.startswith(" "):
                    own[place] = rest[1:]
                else:
                    registered[place] = int(rest)
        strings = self._ids.codes(np.array(list(registered.values()), np.int64)).tolist()
        spelt = self._registered.all
        for place, code in zip(registered, strings, strict=True):
            own[place] = spelt[code]
        name, operator = self._judged(own)
        self._known = pa.concat_arrays([self._known, arrow_codes.string_array(texts).cast(pa.string())])
        self._name, self._operator = np.r_[self._name, name], np.r_[self._operator, operator]
        self._domain = np.r_[self._domain, domain]

    def _judged(self, texts: Sequence[str]) -> tuple[Ints, Flags]:
        """Judge texts in columns: numbered operators give a text each."""
        array = arrow_codes.string_array(texts)
        is_operator = pc.match_substring_regex(array, name_rules.OPERATOR_PATTERN)
        bare = pc.replace_substring_regex(array.filter(is_operator), name_rules.OPERATOR_TAIL, "")
        code, distinct = arrow_codes.of_texts(pa.chunked_array([pc.replace_with_mask(array, is_operator, bare)]))
        return self._names.codes(distinct)[code], arrow_codes.numbers(is_operator) != 0
