"""The queries of `sql/` that read long tables, over Arrow columns: the same rows, in the same columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL, COPY, SET, GRAPH = (f"CUPTI_ACTIVITY_KIND_{kind}" for kind in ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE"))
_RANGE_TYPES = pa.array([59, 60, 70, 71], pa.int64())
_OS_CALL = 27
_TO_HOST = 2
_MOST_BLOCKS = (2147483647, 65535, 65535)

Columns = Mapping[str, pa.Array]
"""Columns of a part of a table by their names in the report."""
Parameters = Mapping[str, str]


@dataclass(frozen=True)
class ArrowQuery:
    """One SELECT: from `table`, with `columns` at hand, the rows where `where` is true, turned by `select`.

    `needed` are columns that must not be null, as in the SQL.
    """

    table: str
    columns: tuple[str, ...]
    needed: tuple[str, ...]
    select: Callable[[Columns, Parameters], Columns]
    where: Callable[[Columns, Parameters], pa.Array | None] = lambda columns, parameters: None

    def rows(self, arrays: Sequence[pa.Array], parameters: Parameters) -> pa.Table:
        """Return what the query selects from a part of its table, whose columns are `arrays`."""
        columns = dict(zip(self.columns, arrays, strict=True))
        keep = self.where(columns, parameters)
        for name in self.needed:
            if columns[name].null_count:
                valid = pc.is_valid(columns[name])
                keep = valid if keep is None else pc.and_(keep, valid)
        if keep is not None and not pc.all(pc.fill_null(keep, False)).as_py():
            columns = {name: column.filter(keep) for name, column in columns.items()}
        return pa.table(dict(self.select(columns, parameters)))


def _or(column: pa.Array, value: int) -> pa.Array:
    return pc.fill_null(column, value) if column.null_count else column


def _is_set(column: pa.Array) -> pa.Array:
    """Return 1 where a column is neither null nor 0, else 0."""
    return pc.cast(pc.not_equal(_or(column, 0), 0), pa.int64())


def _constant(column: pa.Array, value: int) -> pa.Array:
    return pa.array(np.full(len(column), value, np.int64))


def _among(column: pa.Array, values: str) -> pa.Array:
    return pc.is_in(column, value_set=pa.array(json.loads(values), pa.int64()))


_API = ("start", "end", "globalTid", "correlationId", "nameId")


def _api(c: Columns, _: Parameters) -> Columns:
    return {
        "start_ns": c["start"],
        "end_ns": c["end"],
        "thread": c["globalTid"],
        "correlation_id": _or(c["correlationId"], -2),
        "name_id": _or(c["nameId"], -1),
    }


def _api_of_thread(c: Columns, parameters: Parameters) -> Columns:
    selected = dict(_api(c, parameters))
    del selected["thread"]
    return selected


def _of_thread(c: Columns, parameters: Parameters) -> pa.Array:
    return pc.equal(c["globalTid"], int(parameters["thread"]))


def _of_threads(c: Columns, parameters: Parameters) -> pa.Array:
    return _among(c["globalTid"], parameters["threads"])


def _op_columns(c: Columns) -> dict[str, pa.Array]:
    return {
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "device": _or(c["deviceId"], 0),
        "context": _or(c["contextId"], 0),
        "stream": _or(c["streamId"], 0),
        "correlation_id": _or(c["correlationId"], -1),
    }


_OP = ("start", "end", "globalPid", "deviceId", "contextId", "streamId", "correlationId")


def _kernels(c: Columns, _: Parameters) -> Columns:
    name = _or(pc.coalesce(c["demangledName"], c["shortName"]), -1)
    return _op_columns(c) | {"name_id": name, "graph_node": _is_set(c["graphNodeId"])}


def _memory(c: Columns, _: Parameters) -> Columns:
    return _op_columns(c) | {
        "name_id": _constant(c["start"], -1),
        "graph_node": _is_set(c["graphNodeId"]),
        "bytes": _or(c["bytes"], 0),
    }


def _graphs(c: Columns, _: Parameters) -> Columns:
    return _op_columns(c) | {"name_id": _constant(c["start"], -1), "graph_node": _constant(c["start"], 0)}


def _measured(c: Columns, _: Parameters) -> pa.Array:
    return pc.invert(pc.and_(pc.equal(c["start"], 0), pc.equal(c["end"], 0)))


def _ranges(c: Columns, _: Parameters) -> Columns:
    text = _as_text(c["text"])
    domain = _or(c["domainId"], 0)
    plain = pc.and_(pc.is_null(c["textId"]), pc.equal(domain, 0))
    plain = pc.and_(plain, pc.fill_null(pc.greater_equal(text, " "), False))
    if not pc.all(plain).as_py():
        rest = pc.invert(plain)
        other, number = domain.filter(rest), c["textId"].filter(rest)
        own = pc.binary_join_element_wise("", pc.fill_null(text.filter(rest), ""), " ")
        registered = pc.fill_null(pc.greater_equal(number, 0), False)
        told = pc.if_else(registered, pc.cast(_or(number, 0), pa.string()), own)
        told = pc.binary_join_element_wise(
            pc.binary_join_element_wise("\x01", pc.cast(other, pa.string()), ""), told, " "
        )
        text = pc.replace_with_mask(text, rest, told)
    return {"start_ns": c["start"], "end_ns": c["end"], "thread": c["globalTid"], "text": text}


def _as_text(column: pa.Array) -> pa.Array:
    return column if column.type == pa.string() else pc.cast(column, pa.string())


def _chosen_ranges(c: Columns, parameters: Parameters) -> pa.Array:
    keep = pc.is_in(c["eventType"], value_set=_RANGE_TYPES)
    if int(parameters["all"]):
        return keep
    text = _as_text(c["text"])
    operator = pc.and_(pc.greater_equal(text, "aten::"), pc.less(text, "aten:;"))
    # a range without any text is no mark; one with a registered text may be
    keep = pc.and_(keep, pc.or_(pc.is_valid(c["textId"]), pc.fill_null(pc.invert(operator), False)))
    domain = _or(c["domainId"], 0)
    return pc.and_(keep, pc.or_(pc.equal(domain, 0), pc.invert(_among(domain, parameters["domains"]))))


def _os_call(c: Columns) -> pa.Array:
    return pc.equal(_or(c["eventClass"], _OS_CALL), _OS_CALL)


def _os_columns(c: Columns) -> dict[str, pa.Array]:
    return {"start_ns": c["start"], "end_ns": c["end"], "name_id": _or(c["nameId"], -1)}


def _frames(c: Columns, _: Parameters) -> Columns:
    depth = pc.bit_wise_and(c["stackDepth"], 4095)
    symbol = pc.bit_wise_and(_or(c["symbol"], 0), 0xFFFFFFFF)
    return {
        "sample_depth": pc.bit_wise_or(pc.shift_left(c["id"], 12), depth),
        "module_symbol": pc.bit_wise_or(pc.shift_left(_or(c["module"], 0), 32), symbol),
    }


def _blocks(c: Columns, _: Parameters) -> Columns:
    total = _constant(c["start"], 1)
    known = pa.array(np.ones(len(c["start"]), bool))
    for name, most in zip(("gridX", "gridY", "gridZ"), _MOST_BLOCKS, strict=True):
        size = _or(c[name], 0)
        known = pc.and_(known, pc.and_(pc.greater_equal(size, 1), pc.less_equal(size, most)))
        total = pc.multiply(total, pc.if_else(known, size, 0))
    return {
        "kind": _constant(c["start"], 0),
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "blocks": pc.if_else(known, total, 0),
        "to_host": _constant(c["start"], 0),
    }


def _directions(c: Columns, _: Parameters) -> Columns:
    return {
        "kind": _constant(c["start"], 1),
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "blocks": _constant(c["start"], 0),
        "to_host": pc.cast(pc.equal(_or(c["copyKind"], 0), _TO_HOST), pa.int64()),
    }


def _correlations(table: str, *needed: str, where: Callable[[Columns, Parameters], pa.Array | None]) -> ArrowQuery:
    columns = ("start", "end", "correlationId", "globalPid")
    return ArrowQuery(
        table, columns, (*needed, "correlationId", "globalPid"),
        lambda c, _: {"process": c["globalPid"], "correlation_id": c["correlationId"]}, where,
    )  # fmt: skip


def _all(_: Columns, __: Parameters) -> None:
    return None


_TIMES = ("start", "end")
_SIZED = (*_OP, "graphNodeId", "bytes")

ARROW_QUERIES: dict[str, tuple[ArrowQuery, ...]] = {
    "api_calls": (ArrowQuery(RUNTIME, _API, (*_TIMES, "globalTid"), _api),),
    "api_calls_of_thread": (ArrowQuery(RUNTIME, _API, _TIMES, _api_of_thread, _of_thread),),
    "api_calls_with_chains": (
        ArrowQuery(
            RUNTIME, (*_API, "callchainId"), (*_TIMES, "globalTid"),
            lambda c, p: dict(_api(c, p)) | {"callchain_id": c["callchainId"]},
        ),
    ),
    "api_chains": (
        ArrowQuery(
            RUNTIME, (*_TIMES, "globalTid", "callchainId"), (*_TIMES, "globalTid", "callchainId"),
            lambda c, _: {"callchain_id": c["callchainId"]},
        ),
    ),
    "kernels": (ArrowQuery(KERNEL, (*_OP, "demangledName", "shortName", "graphNodeId"), _TIMES, _kernels),),
    "memory_copies": (ArrowQuery(COPY, _SIZED, _TIMES, _memory),),
    "memory_sets": (ArrowQuery(SET, _SIZED, _TIMES, _memory),),
    "graph_runs": (ArrowQuery(GRAPH, _OP, _TIMES, _graphs, _measured),),
    "nvtx_ranges": (
        ArrowQuery(
            "NVTX_EVENTS", ("start", "end", "globalTid", "eventType", "text", "textId", "domainId"),
            (*_TIMES, "globalTid"), _ranges, _chosen_ranges,
        ),
    ),
    "os_calls": (
        ArrowQuery(
            "OSRT_API", ("start", "end", "globalTid", "nameId", "eventClass"), _TIMES,
            lambda c, _: _os_columns(c) | {"thread": c["globalTid"]},
            lambda c, p: pc.and_(_os_call(c), _of_threads(c, p)),
        ),
    ),
    "os_calls_of_thread": (
        ArrowQuery(
            "OSRT_API", ("start", "end", "globalTid", "nameId", "eventClass"), _TIMES,
            lambda c, _: _os_columns(c), lambda c, p: pc.and_(_os_call(c), _of_thread(c, p)),
        ),
    ),
    "samples": (
        ArrowQuery(
            "COMPOSITE_EVENTS", ("id", "start", "globalTid"), ("id", "start"),
            lambda c, _: {"sample_id": c["id"], "start_ns": c["start"], "thread": c["globalTid"]}, _of_threads,
        ),
    ),
    "sample_frames": (
        ArrowQuery("SAMPLING_CALLCHAINS", ("id", "stackDepth", "module", "symbol"), ("id", "stackDepth"), _frames),
    ),
    "launch_frames": (
        ArrowQuery("CUDA_CALLCHAINS", ("id", "stackDepth", "module", "symbol"), ("id", "stackDepth"), _frames),
    ),
    "context_switches": (
        ArrowQuery(
            "SCHED_EVENTS", ("start", "globalTid", "isSchedIn"), ("start",),
            lambda c, _: {"start_ns": c["start"], "thread": c["globalTid"], "is_in": _is_set(c["isSchedIn"])},
            _of_threads,
        ),
    ),
    "op_shapes": (
        ArrowQuery(KERNEL, (*_TIMES, "globalPid", "gridX", "gridY", "gridZ"), _TIMES, _blocks),
        ArrowQuery(COPY, (*_TIMES, "globalPid", "copyKind"), _TIMES, _directions),
    ),
    "op_correlations": (
        *(_correlations(table, *_TIMES, where=_all) for table in (KERNEL, COPY, SET)),
        _correlations(GRAPH, where=_measured),
    ),
}  # fmt: skip
"""The queries by the name of their SQL file; several stand for its UNION ALL."""
