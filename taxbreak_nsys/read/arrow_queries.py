"""pyarrow equivalents of the queries in `sql/` that read long tables; they return the same columns and rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys.read.arrow_query import ArrowQuery, Columns, Parameters, among, constant, fill_null, is_set

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL, COPY, SET, GRAPH = (f"CUPTI_ACTIVITY_KIND_{kind}" for kind in ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE"))
_RANGE_TYPES = pa.array([59, 60, 70, 71], pa.int64())
_OS_CALL = 27
_FROM_HOST, _TO_HOST = 1, 2
_GRID = ("gridX", "gridY", "gridZ")
_MOST_BLOCKS = (2147483647, 65535, 65535)

_API = ("start", "end", "globalTid", "correlationId", "nameId")


def _api(c: Columns, _: Parameters) -> Columns:
    return {
        "start_ns": c["start"],
        "end_ns": c["end"],
        "thread": c["globalTid"],
        "correlation_id": fill_null(c["correlationId"], -2),
        "name_id": fill_null(c["nameId"], -1),
    }


def _api_of_thread(c: Columns, parameters: Parameters) -> Columns:
    selected = dict(_api(c, parameters))
    del selected["thread"]
    return selected


def _same_thread(c: Columns, parameters: Parameters) -> pa.Array:
    return pc.equal(c["globalTid"], int(parameters["thread"]))


def _listed_threads(c: Columns, parameters: Parameters) -> pa.Array:
    return among(c["globalTid"], parameters["threads"])


def _op_columns(c: Columns) -> dict[str, pa.Array]:
    return {
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "device": fill_null(c["deviceId"], 0),
        "context": fill_null(c["contextId"], 0),
        "stream": fill_null(c["streamId"], 0),
        "correlation_id": fill_null(c["correlationId"], -1),
    }


_OP = ("start", "end", "globalPid", "deviceId", "contextId", "streamId", "correlationId")


def _kernels(c: Columns, _: Parameters) -> Columns:
    name = fill_null(pc.coalesce(c["demangledName"], c["shortName"]), -1)
    return _op_columns(c) | {"name_id": name, "node_blocks": _node_blocks(c)}


def _node_blocks(c: Columns) -> pa.Array:
    node = pc.not_equal(fill_null(c["graphNodeId"], 0), 0)
    if not pc.any(node).as_py():
        return constant(c["start"], 0)
    x, y, z = (fill_null(c[name], 0) for name in _GRID)
    known = pc.and_(pc.greater_equal(x, 1), pc.less_equal(x, _MOST_BLOCKS[0]))
    known = pc.and_(known, pc.and_(pc.equal(y, 1), pc.equal(z, 1)))
    return pc.if_else(node, pc.if_else(known, x, -1), 0)


def _memory(c: Columns, _: Parameters) -> Columns:
    return _op_columns(c) | {
        "name_id": constant(c["start"], -1),
        "node_blocks": pc.negate(is_set(c["graphNodeId"])),
        "bytes": fill_null(c["bytes"], 0),
    }


def _copies(c: Columns, parameters: Parameters) -> Columns:
    from_host = pc.cast(pc.equal(fill_null(c["copyKind"], 0), _FROM_HOST), pa.int64())
    return dict(_memory(c, parameters)) | {"from_host": from_host}


def _graphs(c: Columns, _: Parameters) -> Columns:
    return _op_columns(c) | {"name_id": constant(c["start"], -1), "node_blocks": constant(c["start"], 0)}


def _measured(c: Columns, _: Parameters) -> pa.Array:
    return pc.invert(pc.and_(pc.equal(c["start"], 0), pc.equal(c["end"], 0)))


def _ranges(c: Columns, _: Parameters) -> Columns:
    text = _as_text(c["text"])
    domain = fill_null(c["domainId"], 0)
    plain = pc.and_(pc.is_null(c["textId"]), pc.equal(domain, 0))
    plain = pc.and_(plain, pc.fill_null(pc.greater_equal(text, " "), False))
    if not pc.all(plain).as_py():
        rest = pc.invert(plain)
        other, number = domain.filter(rest), c["textId"].filter(rest)
        own = pc.binary_join_element_wise("", pc.fill_null(text.filter(rest), ""), " ")
        registered = pc.fill_null(pc.greater_equal(number, 0), False)
        content = pc.if_else(registered, pc.cast(fill_null(number, 0), pa.string()), own)
        marked = pc.binary_join_element_wise(
            pc.binary_join_element_wise("\x01", pc.cast(other, pa.string()), ""), content, " "
        )
        text = pc.replace_with_mask(text, rest, marked)
    return {"start_ns": c["start"], "end_ns": c["end"], "thread": c["globalTid"], "text": text}


def _ranges_of_thread(c: Columns, parameters: Parameters) -> Columns:
    columns = dict(_ranges(c, parameters))
    thread, text = columns.pop("thread"), columns["text"]
    own = pc.equal(thread, int(parameters["thread"]))
    if not pc.all(own).as_py():
        named = pc.binary_join_element_wise("\x02", pc.cast(thread, pa.string()), "")
        columns["text"] = pc.if_else(own, text, pc.binary_join_element_wise(named, text, " "))
    return columns


def _as_text(column: pa.Array) -> pa.Array:
    return column if column.type == pa.string() else pc.cast(column, pa.string())


def _all_ranges(c: Columns, _: Parameters) -> pa.Array:
    return pc.is_in(c["eventType"], value_set=_RANGE_TYPES)


def _chosen_ranges(c: Columns, parameters: Parameters) -> pa.Array:
    keep = _all_ranges(c, parameters)
    if int(parameters["all"]):
        return keep
    text = _as_text(c["text"])
    operator = pc.and_(pc.greater_equal(text, "aten::"), pc.less(text, "aten:;"))
    # A range without text marks no phase, but its text may be a registered string (textId).
    keep = pc.and_(keep, pc.or_(pc.is_valid(c["textId"]), pc.fill_null(pc.invert(operator), False)))
    domain = fill_null(c["domainId"], 0)
    return pc.and_(keep, pc.or_(pc.equal(domain, 0), pc.invert(among(domain, parameters["domains"]))))


def is_os_call(event_class: pa.Array) -> pa.Array:
    """Flag the rows of OSRT_API that are calls; other classes mark the begin and end of the tracing."""
    return pc.equal(fill_null(event_class, _OS_CALL), _OS_CALL)


def _os_columns(c: Columns) -> dict[str, pa.Array]:
    return {"start_ns": c["start"], "end_ns": c["end"], "name_id": fill_null(c["nameId"], -1)}


def _frames(c: Columns, _: Parameters) -> Columns:
    depth = pc.bit_wise_and(c["stackDepth"], 4095)
    symbol = pc.bit_wise_and(fill_null(c["symbol"], 0), 0xFFFFFFFF)
    return {
        "sample_depth": pc.bit_wise_or(pc.shift_left(c["id"], 12), depth),
        "module_symbol": pc.bit_wise_or(pc.shift_left(fill_null(c["module"], 0), 32), symbol),
    }


def _blocks(c: Columns, _: Parameters) -> Columns:
    total = constant(c["start"], 1)
    known = pa.array(np.ones(len(c["start"]), bool))
    for name, most in zip(_GRID, _MOST_BLOCKS, strict=True):
        size = fill_null(c[name], 0)
        known = pc.and_(known, pc.and_(pc.greater_equal(size, 1), pc.less_equal(size, most)))
        total = pc.multiply(total, pc.if_else(known, size, 0))
    return {
        "kind": constant(c["start"], 0),
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "blocks": pc.if_else(known, total, 0),
        "to_host": constant(c["start"], 0),
    }


def _directions(c: Columns, _: Parameters) -> Columns:
    return {
        "kind": constant(c["start"], 1),
        "start_ns": c["start"],
        "end_ns": c["end"],
        "process": c["globalPid"],
        "blocks": constant(c["start"], 0),
        "to_host": pc.cast(pc.equal(fill_null(c["copyKind"], 0), _TO_HOST), pa.int64()),
    }


def _correlations(table: str, *needed: str, where: Callable[[Columns, Parameters], pa.Array | None]) -> ArrowQuery:
    return ArrowQuery(
        table=table,
        columns=("start", "end", "correlationId", "globalPid"),
        needed=(*needed, "correlationId", "globalPid"),
        select=lambda c, _: {"process": c["globalPid"], "correlation_id": c["correlationId"]},
        where=where,
    )


def _all_rows(_: Columns, __: Parameters) -> None:
    return None


_TIMES = ("start", "end")
_SIZED_OP = (*_OP, "graphNodeId", "bytes")
_OS = ("start", "end", "globalTid", "nameId", "eventClass")
_RANGE = ("start", "end", "globalTid", "eventType", "text", "textId", "domainId")
_FRAME = ("id", "stackDepth", "module", "symbol")

ARROW_QUERIES: dict[str, tuple[ArrowQuery, ...]] = {
    "api_calls": (ArrowQuery(table=RUNTIME, columns=_API, needed=(*_TIMES, "globalTid"), select=_api),),
    "api_calls_of_thread": (
        ArrowQuery(table=RUNTIME, columns=_API, needed=_TIMES, select=_api_of_thread, where=_same_thread),
    ),
    "api_calls_with_chains": (
        ArrowQuery(
            table=RUNTIME,
            columns=(*_API, "callchainId"),
            needed=(*_TIMES, "globalTid"),
            select=lambda c, p: dict(_api(c, p)) | {"callchain_id": c["callchainId"]},
        ),
    ),
    "api_chains": (
        ArrowQuery(
            table=RUNTIME,
            columns=(*_TIMES, "globalTid", "callchainId"),
            needed=(*_TIMES, "globalTid", "callchainId"),
            select=lambda c, _: {"callchain_id": c["callchainId"]},
        ),
    ),
    "kernels": (
        ArrowQuery(
            table=KERNEL,
            columns=(*_OP, "demangledName", "shortName", "graphNodeId", *_GRID),
            needed=_TIMES,
            select=_kernels,
        ),
    ),
    "memory_copies": (ArrowQuery(table=COPY, columns=(*_SIZED_OP, "copyKind"), needed=_TIMES, select=_copies),),
    "memory_sets": (ArrowQuery(table=SET, columns=_SIZED_OP, needed=_TIMES, select=_memory),),
    "graph_runs": (ArrowQuery(table=GRAPH, columns=_OP, needed=_TIMES, select=_graphs, where=_measured),),
    "nvtx_ranges": (
        ArrowQuery(
            table="NVTX_EVENTS",
            columns=_RANGE,
            needed=(*_TIMES, "globalTid"),
            select=_ranges,
            where=_chosen_ranges,
        ),
    ),
    "nvtx_ranges_of_thread": (
        ArrowQuery(
            table="NVTX_EVENTS",
            columns=_RANGE,
            needed=(*_TIMES, "globalTid"),
            select=_ranges_of_thread,
            where=_all_ranges,
        ),
    ),
    "os_calls": (
        ArrowQuery(
            table="OSRT_API",
            columns=_OS,
            needed=_TIMES,
            select=lambda c, _: _os_columns(c) | {"thread": c["globalTid"]},
            where=lambda c, p: pc.and_(is_os_call(c["eventClass"]), _listed_threads(c, p)),
        ),
    ),
    "os_calls_of_thread": (
        ArrowQuery(
            table="OSRT_API",
            columns=_OS,
            needed=_TIMES,
            select=lambda c, _: _os_columns(c),
            where=lambda c, p: pc.and_(is_os_call(c["eventClass"]), _same_thread(c, p)),
        ),
    ),
    "samples": (
        ArrowQuery(
            table="COMPOSITE_EVENTS",
            columns=("id", "start", "globalTid"),
            needed=("id", "start"),
            select=lambda c, _: {"sample_id": c["id"], "start_ns": c["start"], "thread": c["globalTid"]},
            where=_listed_threads,
        ),
    ),
    "sample_frames": (
        ArrowQuery(table="SAMPLING_CALLCHAINS", columns=_FRAME, needed=("id", "stackDepth"), select=_frames),
    ),
    "launch_frames": (
        ArrowQuery(table="CUDA_CALLCHAINS", columns=_FRAME, needed=("id", "stackDepth"), select=_frames),
    ),
    "context_switches": (
        ArrowQuery(
            table="SCHED_EVENTS",
            columns=("start", "globalTid", "isSchedIn"),
            needed=("start",),
            select=lambda c, _: {"start_ns": c["start"], "thread": c["globalTid"], "is_in": is_set(c["isSchedIn"])},
            where=_listed_threads,
        ),
    ),
    "op_shapes": (
        ArrowQuery(table=KERNEL, columns=(*_TIMES, "globalPid", *_GRID), needed=_TIMES, select=_blocks),
        ArrowQuery(table=COPY, columns=(*_TIMES, "globalPid", "copyKind"), needed=_TIMES, select=_directions),
    ),
    "op_correlations": (
        *(_correlations(table, *_TIMES, where=_all_rows) for table in (KERNEL, COPY, SET)),
        _correlations(GRAPH, where=_measured),
    ),
}
"""Queries by the name of their SQL file; where the file has a UNION ALL, one ArrowQuery per part."""
