"""A listing as a table for the terminal: some columns, short names, the first rows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.console import printable
from taxbreak_nsys.output.detail_tables import table_notes
from taxbreak_nsys.output.result_tables import result_table
from taxbreak_nsys.output.shown_rows import RowOrder
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from taxbreak_nsys.result import Result

MOST_ROWS = 50
_LISTED = {
    "taxbreak_kern_sum": (
        "Phase", "Time (%)", "Total Time (ns)", "Instances", "delta_ft (ns)", "delta_ct (ns)", "Name",
    ),
    "taxbreak_op_sum": (
        "Phase", "Time (%)", "Self Time (ns)", "Instances", "delta_ft (ns)", "delta_ct (ns)", "Operator",
    ),
    "taxbreak_api_sum": ("Phase", "Time (%)", "Total Time (ns)", "Instances", "Med (ns)", "Blocked (ns)", "Name"),
    "taxbreak_sample_sum": (
        "Phase", "Layer", "Kind", "Time (%)", "Total Time (ns)", "Between (ns)", "Samples", "Module",
    ),
    "taxbreak_symbol_sum": ("Phase", "Layer", "Time (%)", "Total Time (ns)", "Between (ns)", "Module", "Symbol"),
    "taxbreak_gap_sum": ("Phase", "Time (%)", "Total Time (ns)", "Instances", "Med (ns)", "State", "Range", "Before"),
    "taxbreak_gap_trace": ("Start (ns)", "Duration (ns)", "Phase", "Instance", "State", "Range", "Before"),
    "taxbreak_nvtx_sum": (
        "Phase", "Time (%)", "Total Time (ns)", "Self Time (ns)", "Exposed (ns)", "Instances", "Kernels", "Range",
    ),
    "taxbreak_class_sum": (
        "Phase", "Class", "Time (%)", "Total Time (ns)", "Instances", "Launches", "Exposed Launch (ns)",
    ),
    "taxbreak_fusion_sum": (
        "Phase", "Replay (%)", "Replay Saved (ns)", "Saved (ns)", "Exposed Path (ns)", "Instances", "Kernels",
        "Pattern",
    ),
    "taxbreak_call_sum": (
        "Phase", "Layer", "Time (%)", "Total Time (ns)", "Self Time (ns)", "Exposed (ns)", "Module", "Symbol",
    ),
    "taxbreak_step_trace": (
        "Start (ns)", "Wall (ns)", "Phase", "Requests", "Tokens", "Kernels", "Device Active (ns)",
    ),
    "taxbreak_trace": ("Start (ns)", "Duration (ns)", "State", "Phase", "Instance", "TID", "Exposed (ns)"),
}  # fmt: skip

_LEAST_NAME = 20
_PATH = "Range"
_NAMES = ("Name", "Operator", "Symbol", "Before", "Range", "Pattern")

_NO_SAMPLES = (
    "the report has no CPU samples with call chains; capture with 'nsys profile -s process-tree "
    "--sampling-period=125000 --samples-per-backtrace=1 --backtrace=fp'"
)
_WHY_EMPTY = {
    "taxbreak_op_sum": "the report has no operator ranges; capture with -t cuda,nvtx and run the model inside "
    "torch.autograd.profiler.emit_nvtx()",
    "taxbreak_fusion_sum": "no short kernels follow each other with exposed launches between them",
    "taxbreak_sample_sum": _NO_SAMPLES,
    "taxbreak_call_sum": _NO_SAMPLES,
    "taxbreak_symbol_sum": _NO_SAMPLES,
}
"""Why a listing can be empty, and how to capture a report in which it is not."""


def print_listing(console: Console, result: Result, report: str, unit: str | None, order: RowOrder) -> None:
    """Print the rows of a listing; `order` selects and sorts them, `unit` is one of nsys's time units or None."""
    from rich.table import Table

    rows = order.apply(result_table(result, report))
    titles = [title for title in _LISTED[report] if title in rows.column_names]
    if "Between (ns)" in titles and rows.column("Between (ns)").null_count == len(rows):
        titles.remove("Between (ns)")  # no engine's marks
    threads = rows.column("TID").unique()
    if len(threads) > 1 and "TID" not in titles:
        titles.insert(1, "TID")
    console.print(f"{printable(result.report.path)}: {report}", style="bold")
    for sentence in table_notes(result, report, unit):
        console.print(printable(sentence))
    if not len(rows):
        console.print(f"no rows: {_WHY_EMPTY.get(report, 'nothing of the kind lies in a phase')}")
        return
    most = MOST_ROWS if order.top is None else order.top
    shown = rows.select(titles).slice(0, most).to_pylist()
    cells = [[_cell(title, row[title], unit) for title in titles] for row in shown]
    if "Depth" in rows.column_names and order.sort is None:
        depths = rows.column("Depth").slice(0, most).to_pylist()
        cells = [[*row[:-1], "  " * max(depth - 1, 0) + row[-1]] for row, depth in zip(cells, depths, strict=True)]
    widths = _widths(titles, cells)
    if sys.stdout is None or not sys.stdout.isatty():
        # a file or a pipe has no width: print whole names
        console.width = max(console.width, sum(widths) + len(widths))
    elif titles[-1] in _NAMES:
        # shorten names, never numbers
        if _PATH in titles[:-1]:
            titles, cells = _fitted_paths(titles, cells, console.width)
            widths = _widths(titles, cells)
        widths[-1] = min(widths[-1], max(_LEAST_NAME, console.width - sum(widths[:-1]) - len(widths) + 1))
    heads = [_column_head(title) for title in titles]
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for title, head, width in zip(titles, heads, widths, strict=True):
        side: Any = "left" if _is_text(rows, title) else "right"
        table.add_column(head, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table)
    if len(rows) > most:
        console.print(f"{len(rows) - most} more rows; --top {len(rows)} shows them all")


def _column_head(title: str) -> str:
    return title.replace(" (ns)", "")


def _widths(titles: list[str], cells: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(map(_column_head, titles), *cells, strict=True)]


def _without(titles: list[str], cells: list[list[str]], title: str) -> tuple[list[str], list[list[str]]]:
    at = titles.index(title)
    return titles[:at] + titles[at + 1 :], [row[:at] + row[at + 1 :] for row in cells]


def _fitted_paths(titles: list[str], cells: list[list[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """Return the columns with paths cut at their beginning, so that the last column has as much room as they have.

    Without room for both, the column of paths is left out.
    """
    at, widths = titles.index(_PATH), _widths(titles, cells)
    room = (width - sum(widths) + widths[at] + widths[-1] - len(widths) + 1) // 2
    if room < _LEAST_NAME:
        return _without(titles, cells, _PATH)
    room = max(room, 2 * room - widths[-1])
    for row in cells:
        if len(row[at]) > room:
            row[at] = f"\N{HORIZONTAL ELLIPSIS}{row[at][1 - room :]}"
    return titles, cells


def _is_text(rows: pa.Table, title: str) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(rows.schema.field(title).type))


def _cell(title: str, value: Any, unit: str | None) -> str:
    if value is None:
        return "-"
    if title.endswith("(ns)") and title != "Start (ns)":
        return show_time(value, unit)
    if title == "Start (ns)" and unit:
        return show_time(value, unit)
    return printable(value) if isinstance(value, str) else f"{value}"
