"""The page's tables, cards and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.html.html_details import large_numbers
from taxbreak_nsys.output.layer_stack import phase_title, stack_parts
from taxbreak_nsys.output.result_tables import result_table
from taxbreak_nsys.output.step_lines import kernels_of_a_step
from taxbreak_nsys.output.units import show_share, show_time
from taxbreak_nsys.verdict.device_word import beside_hdbi, bound_word

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Phase, Result

Row = dict[str, Any]

FOUND_BY = 160
"""Characters of a name that link a table's row to a timeline (`timeline_rows.NAME_LENGTH`)."""
MOST_ROWS = 400
"""Most rows of a table of the page, over all reports."""

_SHOWN = {
    "taxbreak_kern_sum": (
        "Phase", "PID", "TID", "Time (%)", "Total Time (ns)", "Instances", "Avg (ns)", "Med (ns)", "delta_ft (ns)",
        "delta_ct (ns)", "Launch Time (ns)", "Library-Mediated", "Name",
    ),
    "taxbreak_op_sum": (
        "Phase", "PID", "TID", "Time (%)", "Self Time (ns)", "Total Time (ns)", "Instances", "Med (ns)",
        "delta_ft (ns)", "delta_ct (ns)", "Launch Time (ns)", "Kernels", "Device Time (ns)", "Operator",
    ),
}  # fmt: skip
_SHOWN |= {
    "taxbreak_class_sum": (
        "Phase", "PID", "TID", "Title", "Time (%)", "Total Time (ns)", "Per Step (ns)", "Instances", "Launches",
        "Launch Time (ns)", "Exposed Launch (ns)", "Kernels",
    ),
    "taxbreak_gap_sum": (
        "Phase", "PID", "TID", "Time (%)", "Total Time (ns)", "Instances", "Med (ns)", "P10 (ns)", "P90 (ns)", "State",
        "Before", "Range",
    ),
    "taxbreak_nvtx_sum": (
        "Phase", "PID", "TID", "Range", "Time (%)", "Total Time (ns)", "Self Time (ns)", "Exposed (ns)",
        "Per Step (ns)", "Instances", "Launches", "Kernels", "Device Time (ns)",
    ),
}  # fmt: skip
"""The columns of each table of the page."""
_NAMES = {"Name", "Operator", "Before", "Range"}
_TITLES = {"Title": "Class", "delta_ft (ns)": "ΔFT", "delta_ct (ns)": "ΔCT"}

EVIDENCE = {
    "ranges": "the libraries' own ranges in the report. Exact for what the libraries mark.",
    "ranges+samples": "the libraries' own ranges in the report, and CPU samples in a library outside them. "
    "With a 95 % interval.",
    "samples": "CPU samples with their call chains. An estimate with a 95 % interval.",
    "subtractive": "an upper bound: the dispatch time of library calls above that of the framework's own kernels "
    "(the paper's Eq. 5).",
    "none": "none. Framework and library time cannot be told apart and are shown as one layer; HDBI does not need "
    "the split.",
}
_T_SYS = {
    "given": "given with --t-sys",
    "null_report": "the median of a report of an empty kernel",
    "idle_launches": "the first percentile of this report's launches that met an idle stream",
    "paper": "the paper's value for H100 and H200, not measured here",
}


def machine(result: Result) -> str:
    """Return one line with GPU, CPU, nsys version and traced APIs of a report."""
    report = result.report
    nsys = f"nsys {report.nsys_version}" if report.nsys_version else None
    traced = f"traced: {', '.join(report.traced)}" if report.traced else None
    return " · ".join(filter(None, (report.gpu, report.cpu, nsys, traced)))


def card(entry: Phase, result: Result) -> Row:
    """Return the contents of a phase's card, by the names in the page's template."""
    taxbreak, corrected = entry.taxbreak, entry.corrected
    steps = f"{entry.instances:,} steps, median {show_time(entry.wall_median_ns)}"
    if entry.instances == 1:
        steps = f"1 step, {show_time(entry.wall_ns)}"
    kernels = "not measured"
    if entry.kernels is not None:
        kernels = f"{kernels_of_a_step(entry)} per step"
    if entry.launches.unmeasured_graph:
        kernels += f", {entry.launches.unmeasured_graph:,} graph launches not measured"
    return {
        "phase": entry.phase,
        "thread": entry.thread,
        "title": phase_title(entry, result.entries),
        "size": f"{steps} · {kernels}",
        "hdbi": taxbreak.hdbi,
        "word": bound_word(entry),
        "beside": beside_hdbi(entry),
        "reason": taxbreak.hdbi_reason,
        "corrected_hdbi": corrected.hdbi if corrected else None,
        "figures": figure_rows(entry),
        "numbers": large_numbers(entry),
        "verdict": f"{entry.verdict.why[:1].upper()}{entry.verdict.why[1:]}.",
        "advice": entry.verdict.advice,
        "command": entry.verdict.command,
        "comparison": comparison(entry),
    }


def figure_rows(entry: Phase) -> list[tuple[str, str]]:
    """Return the terms of HDBI with their mean times per step, as (name, text)."""
    taxbreak = entry.taxbreak
    if taxbreak.ft_includes_library:
        terms = [("ΔFT + ΔCT", taxbreak.delta_ft_ns)]
    else:
        terms = [("ΔFT", taxbreak.delta_ft_ns), ("ΔCT", taxbreak.delta_ct_ns)]
    terms += [("ΔKT", taxbreak.delta_kt_ns), ("device active", taxbreak.t_device_active_ns)]
    steps = max(entry.instances, 1)
    return [(name, show_time(None if ns is None else ns // steps)) for name, ns in terms]


def comparison(entry: Phase) -> list[tuple[str, str, str]]:
    """Return rows (metric, captured, corrected); empty if the phase has no correction."""
    corrected = entry.corrected
    if corrected is None or corrected.wall_ns is None:
        return []
    titles = {
        "delta_ft_ns": "ΔFT", "delta_ct_ns": "ΔCT", "delta_kt_ns": "ΔKT", "t_orchestration_ns": "T_Orchestration",
    }  # fmt: skip
    rows = [
        (title, show_time(getattr(entry.taxbreak, key)), show_time(getattr(corrected, key)))
        for key, title in titles.items()
    ]
    if corrected.hdbi is not None and entry.taxbreak.hdbi is not None:
        rows.append(("HDBI", f"{entry.taxbreak.hdbi:.3f}", f"{corrected.hdbi:.3f}"))
    rows.append(("slowed by nsys", f"{corrected.dilation:.2f} times", "1"))
    return rows


def layers(results: Sequence[Result], titles: Sequence[str]) -> list[Row]:
    """Return the values of the layer chart as rows, one per report, phase and layer."""
    return [
        {
            "report": title,
            "phase": phase_title(entry, result.entries),
            "key": part.key,
            "layer": part.title,
            "ns": part.ns,
            "total": show_time(part.ns),
            "step": show_time(part.ns // max(entry.instances, 1)),
            "share": show_share(part.ns, entry.wall_ns),
            "exposed": show_share(part.exposed_ns, entry.wall_ns) if part.exposed_ns is not None else "not measured",
        }
        for result, title in zip(results, titles, strict=True)
        for entry in result.entries
        for part in stack_parts(entry)
    ]


def evidence_rows(result: Result) -> list[tuple[str, str]]:
    """Return per kind of evidence (a title with its phases, an explanation)."""
    by_evidence: dict[str, list[str]] = {}
    for entry in result.entries:
        phases = by_evidence.setdefault(entry.taxbreak.evidence, [])
        if entry.phase not in phases:
            phases.append(entry.phase)
    return [
        (f"Library layer of {', '.join(phases)}", f"Evidence: {EVIDENCE.get(name, name)}")
        for name, phases in by_evidence.items()
    ]


def t_sys(result: Result) -> str:
    """Return T_sys and its source in words."""
    source = _T_SYS.get(result.t_sys_source, result.t_sys_source)
    return f"{show_time(result.t_sys_ns)} per launch, the floor of the launch path: {source}."


def outside(result: Result) -> str | None:
    """Return a sentence on launches and kernels outside all phases; None if there are none."""
    counts = result.outside
    launches = counts.kernel_launches + counts.graph_launches + counts.memory_launches
    if not launches and not counts.kernels:
        return None
    share = f", {counts.share:.1%} of all kernel time" if counts.share is not None else ""
    kernels = f"{counts.kernels:,} kernels ({show_time(counts.kernel_sum_ns)}{share})"
    return f"{launches:,} launches and {kernels} lie in no phase."


def listing(results: Sequence[Result], titles: Sequence[str], report: str, title: str) -> Row:
    """Return a named report as a table of the page: heads, rows, and a sentence on the rows left out."""
    tables = [result_table(result, report) for result in results]
    shown = [name for name in _SHOWN[report] if name not in ("PID", "TID")]
    for name in ("TID", "PID"):
        if any(len(table.column(name).unique()) > 1 for table in tables):
            shown.insert(1, name)
    most = max(MOST_ROWS // max(len(results), 1), 20)
    number = {name: _is_number(tables[0], name) for name in shown}
    heads = [{"title": _TITLES.get(name, name.removesuffix(" (ns)")), "number": number[name]} for name in shown]
    if len(results) > 1:
        heads.insert(0, {"title": "Report", "number": False})
    rows = []
    for table, name in zip(tables, titles, strict=True):
        for row in _largest(table, most).to_pylist():
            depth = row.get("Depth")
            cells = [_cell(key, row[key], number[key], depth if key == "Range" else None) for key in shown]
            linked = next((key for key in ("Name", "Before", "Range") if key in shown and row.get(key)), None)
            rows.append(
                {
                    "cells": [Cell(name), *cells] if len(results) > 1 else cells,
                    "phase": row["Phase"],
                    "report": titles.index(name),
                    "find": row[linked][:FOUND_BY] if linked else "",
                }
            )
    total = sum(map(len, tables))
    more = f"{total - len(rows):,} more rows with less time: taxbreak-nsys -r {report} -f csv has them all."
    return {
        "id": report, "title": title, "heads": heads, "rows": rows, "total": total,
        "more": more if total > len(rows) else "",
    }  # fmt: skip


def _largest(table: pa.Table, most: int) -> pa.Table:
    """Return the rows with the largest times, in the table's own order."""
    if len(table) <= most:
        return table
    import pyarrow.compute as pc

    sort = "Total Time (ns)" if "Total Time (ns)" in table.column_names else "Self Time (ns)"
    order = pc.sort_indices(table, sort_keys=[(sort, "descending")]).slice(0, most)
    return table.take(pc.take(order, pc.sort_indices(order)))


def _is_number(table: pa.Table, title: str) -> bool:
    import pyarrow as pa

    kind = table.schema.field(title).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, the number to sort by (None: sort by text), and its kind: text, number or name."""

    text: str
    value: int | float | None = None
    kind: str = "text"


def _cell(title: str, value: Any, number: bool, depth: int | None = None) -> Cell:
    if value is None:
        return Cell("-", kind="number" if number else "text")
    if title in _NAMES or (title == "Kernels" and isinstance(value, str)):
        return Cell("\N{NO-BREAK SPACE}" * 3 * max((depth or 1) - 1, 0) + value, kind="name")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if not number:
        return Cell(value)
    text = show_time(value) if title.endswith("(ns)") else f"{value:,}" if title not in ("PID", "TID") else str(value)
    return Cell(text, value, "number")
