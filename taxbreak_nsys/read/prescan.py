"""First pass over a report: finds the launching threads and the NVTX ranges that may mark phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing

import numpy as np

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.id_set import IdSet
from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Ranges
from taxbreak_nsys.read import conversion
from taxbreak_nsys.read.database import BATCH_ROWS, Database
from taxbreak_nsys.read.report_reader import api_threads
from taxbreak_nsys.read.string_ids import NameIds, StringNames
from taxbreak_nsys.read.table_rows import TableRows
from taxbreak_nsys.read.table_stream import converted

_FEW_ROWS = 1024

CanMark = Callable[[str], bool]
"""A predicate on a range's text: whether an operator's or a library's range may mark a phase nevertheless."""


def launching_threads(database: Database) -> tuple[list[int], list[int]]:
    """Return the globalTids of the threads that call CUDA, and of those with a launch (method section 1), both sorted.

    A single thread that calls CUDA is assumed to launch, without reading its calls.
    """
    threads = api_threads(database)
    if len(threads) < 2:
        return threads, threads
    with_work = IdSet()
    with closing(database.stream("op_correlations")) as batches:
        for batch in batches:
            with_work.add(arrow_codes.numbers(batch["process"]), arrow_codes.numbers(batch["correlation_id"]))
    names, launching = StringNames(), set[int]()
    ids = NameIds(database, names, name_rules.api_name)
    with closing(database.stream("api_calls")) as batches:
        for batch in batches:
            thread = arrow_codes.numbers(batch["thread"])
            name = ids.codes(arrow_codes.numbers(batch["name_id"]))
            graph = (
                np.array([name_rules.is_graph_launch(text) for text in names.all], bool)[name]
                if len(name)
                else name == -1
            )
            undecided = ~np.isin(thread, list(launching)) & ~graph
            number = arrow_codes.numbers(batch["correlation_id"])[undecided]
            joined = with_work.flags(thread[undecided] & PROCESS_MASK, number)
            launching |= {*np.unique(thread[graph]).tolist(), *np.unique(thread[undecided][joined]).tolist()}
            if len(launching) == len(threads):
                break
    return threads, sorted(launching)


def read_marks(database: Database, domains: conversion.Domains, can_mark: CanMark | None) -> Ranges:
    """Return the ranges that may mark phases, sorted: all but those of libraries and operators.

    With `can_mark`, also the ranges of libraries and operators whose text satisfies it; then all texts are read.
    """
    names = StringNames()
    convert = conversion.range_rows(database, names, domains, thread=None)
    parts: list[TableRows] | None = None
    while parts is None:
        parts = _marks(database, domains, convert, names, can_mark)
    rows = TableRows.joined([TableRows.empty(conversion.RANGE_COLUMNS, conversion.RANGE_FLAGS), *parts])
    rows = rows.take(np.lexsort((-rows["end"], rows["start"], rows["thread"])))
    return Ranges(
        start=rows["start"],
        end=rows["end"],
        thread=rows["thread"],
        name=rows["name"],
        names=names.all,
        is_operator=rows.flag("is_operator"),
        is_library=rows.flag("is_library"),
    )


def _marks(
    database: Database,
    domains: conversion.Domains,
    convert: conversion.Convert,
    names: StringNames,
    can_mark: CanMark | None,
) -> list[TableRows] | None:
    """Return the ranges that may mark phases, in batches; None to start over without newly found library domains."""
    left_out = domains.of_libraries()
    # Small batches at first: the first range of an NVTX domain usually comes early and restarts the read.
    batch = _FEW_ROWS if can_mark is None and not domains.asked else BATCH_ROWS
    all_texts = "0" if can_mark is None else "1"
    parts = []
    batches = converted(database, "nvtx_ranges", convert, batch, all=all_texts, domains=json.dumps(left_out))
    with closing(batches):
        for rows in batches:
            if can_mark is None and domains.of_libraries() != left_out:
                return None
            keep: Flags = ~(rows.flag("is_operator") | rows.flag("is_library"))
            if can_mark is not None and len(rows):
                keep |= np.array([can_mark(name) for name in names.all], bool)[rows["name"]]
            parts.append(rows.take(keep))
    return parts
