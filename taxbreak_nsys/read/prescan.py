"""The first look at a report: which threads launch, and which ranges may mark phases."""

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
"""Returns whether a range of this text may mark a phase although it is an operator's or a library's."""


def launching_threads(database: Database) -> tuple[list[int], list[int]]:
    """Return the threads that call CUDA, and those of them with at least one launch (method section 1), in order.

    Where only one thread calls CUDA, it is taken to launch; whether it does is seen when its calls are read.
    """
    threads = api_threads(database)
    if len(threads) < 2:
        return threads, threads
    with_work = IdSet()
    with closing(database.stream("op_correlations")) as batches:
        for batch in batches:
            with_work.add(arrow_codes.numbers(batch["process"]), arrow_codes.numbers(batch["correlation_id"]))
    names, found = StringNames(), set[int]()
    ids = NameIds(database, names, name_rules.api_name)
    with closing(database.stream("api_calls")) as batches:
        for batch in batches:
            thread = arrow_codes.numbers(batch["thread"])
            name = ids.codes(arrow_codes.numbers(batch["name_id"]))
            graph = (
                np.array([name_rules.is_graph_launch(one) for one in names.all], bool)[name]
                if len(name)
                else name == -1
            )
            open_still = ~np.isin(thread, list(found)) & ~graph
            number = arrow_codes.numbers(batch["correlation_id"])[open_still]
            joined = with_work.flags(thread[open_still] & PROCESS_MASK, number)
            found |= {*np.unique(thread[graph]).tolist(), *np.unique(thread[open_still][joined]).tolist()}
            if len(found) == len(threads):
                break
    return threads, sorted(found)


def read_marks(database: Database, domains: conversion.Domains, can_mark: CanMark | None) -> Ranges:
    """Return the ranges that may mark phases, sorted: those that are neither a library's nor an operator's.

    With `can_mark`, also whatever else it is true of; that takes reading all texts.
    """
    names = StringNames()
    turned = conversion.range_rows(database, names, domains)
    parts: list[TableRows] | None = None
    while parts is None:
        parts = _marks(database, domains, turned, names, can_mark)
    rows = TableRows.joined([TableRows.empty(conversion.RANGE_COLUMNS, conversion.RANGE_FLAGS), *parts])
    rows = rows.take(np.lexsort((-rows["end"], rows["start"], rows["thread"])))
    return Ranges(
        rows["start"], rows["end"], rows["thread"], rows["name"], names.all,
        rows.flag("is_operator"), rows.flag("is_library"),
    )  # fmt: skip


def _marks(
    database: Database,
    domains: conversion.Domains,
    turned: conversion.Convert,
    names: StringNames,
    can_mark: CanMark | None,
) -> list[TableRows] | None:
    """Return the ranges that may mark phases; None where it shows that the libraries' are better left out at once."""
    left_out = domains.of_libraries()
    # Small batches until the first range of a domain is seen: it usually comes early.
    batch = _FEW_ROWS if can_mark is None and not domains.asked else BATCH_ROWS
    every = "0" if can_mark is None else "1"
    parts = []
    with closing(converted(database, "nvtx_ranges", turned, batch, all=every, domains=json.dumps(left_out))) as batches:
        for rows in batches:
            if can_mark is None and domains.of_libraries() != left_out:
                return None
            keep: Flags = ~(rows.flag("is_operator") | rows.flag("is_library"))
            if can_mark is not None and len(rows):
                keep |= np.array([can_mark(name) for name in names.all], bool)[rows["name"]]
            parts.append(rows.take(keep))
    return parts
