"""The text report for the terminal: readable in 80 columns, without colour, and through a pipe."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers
from taxbreak_nsys.output import sample_lines
from taxbreak_nsys.output.detail_tables import table_notes
from taxbreak_nsys.output.result_tables import DEFAULT_REPORT, result_table
from taxbreak_nsys.output.shown_rows import RowOrder
from taxbreak_nsys.output.step_lines import between_modules, between_ns, shown_entries, step_lines
from taxbreak_nsys.output.units import show_share, show_time
from taxbreak_nsys.verdict.device_word import beside_hdbi, bound_word

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

    from taxbreak_nsys.result import Phase, Result

NARROW = 80
WIDE = 120
MOST_ROWS = 50
_T_SYS_SOURCES = {
    "given": "given with --t-sys",
    "null_report": "the median of the null-kernel report",
    "idle_launches": "1st percentile, launches to an idle stream",
    "paper": "the paper's value for H100 and H200, not measured",
}
_EVIDENCE = {
    "ranges": "ranges: the library's own ranges",
    "ranges+samples": "ranges+samples: the library's own ranges, and CPU samples outside them",
    "samples": "samples: CPU samples with call chains",
    "subtractive": "subtractive: dispatch time above that of framework-native launches",
    "none": "none: framework and library cannot be told apart",
}


def render_text(
    result: Result, report: str, unit: str | None, order: RowOrder | None = None, *, ranks: bool = False
) -> str:
    """Return a named report as text; `unit` is one of nsys's time units, or None for the most readable unit.

    `order` selects the rows of a listing; without it the first 50 are shown. With `ranks`, each rank of a group is
    shown, not only the group. Colour is used if standard output is a terminal and NO_COLOR is not set.
    """
    console = text_console()
    if report == DEFAULT_REPORT:
        _summary(console, result, unit, ranks=ranks)
    else:
        _listing(console, result, report, unit, order or RowOrder())
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def text_console() -> Console:
    """Return a console that prints into memory, as wide as the terminal (80 columns without one).

    Colour is used if standard output is a terminal and NO_COLOR is not set.
    """
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() else os.get_terminal_size().columns if terminal else NARROW
    return Console(
        file=io.StringIO(), width=max(40, min(width, WIDE)), force_terminal=terminal,
        no_color=not terminal or bool(os.environ.get("NO_COLOR")), highlight=False, markup=False, emoji=False,
        legacy_windows=False,
    )  # fmt: skip


def printable(text: str) -> str:
    """Return text from a report with non-printable characters replaced, so that it cannot control the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _summary(console: Console, result: Result, unit: str | None, *, ranks: bool) -> None:
    report = result.report
    facts = (report.gpu, f"nsys {report.nsys_version}" if report.nsys_version else None)
    console.print(printable(" | ".join([report.path, *filter(None, facts)])), style="bold")
    traced = ", ".join(report.traced) or "unknown"
    source = _T_SYS_SOURCES[result.t_sys_source]
    console.print(printable(f"traced: {traced}"))
    console.print(f"T_sys {show_time(result.t_sys_ns, unit)} per launch ({source})")
    _sources(console, result)
    for entry in shown_entries(result, ranks=ranks):
        _phase(console, entry, result, unit)
    _idle(console, result, unit)
    _processes(console, result, unit)
    _outside(console, result, unit)
    _warnings(console, result)


_PHASE_SOURCES = {"rule": "--phase", "marks": "outermost NVTX ranges", "auto": "found in the launches", "all": "none"}


def _sources(console: Console, result: Result) -> None:
    """Print one line with the sources of the phases."""
    sources: dict[str, None] = {}
    for entry in result.entries:
        source = entry.phase_source
        text = _PHASE_SOURCES.get(source.kind) or source.evidence or source.kind
        sources[text if source.confidence is None else f"{text}, confidence {source.confidence:.2f}"] = None
    console.print(printable(f"phases: {'; '.join(sources)}"))


def _phase(console: Console, entry: Phase, result: Result, unit: str | None) -> None:
    console.print()
    console.rule(printable(f"{entry.phase} ({_where(entry)})"), align="left", characters="-")
    for line in step_lines(entry, unit):
        console.print(printable(line))
    if entry.kernels is None:
        console.print(printable(f"Not measured: {entry.taxbreak.hdbi_reason}."), style="bold")
        return
    _hdbi(console, entry)
    _print_whole(console, _layer_table(entry, unit))
    console.print(f"evidence for the library layer: {_evidence(entry)}", style="dim")
    between = between_modules(entry, result.sample_rows, unit)
    for line in (*([between] if between else []), *sample_lines.lines(entry, unit)):
        console.print(printable(line))
    verdict = f"Verdict: {entry.verdict.why}" if entry.verdict.target else f"No verdict: {entry.verdict.why}"
    console.print(printable(f"{verdict}."), style="bold")
    if entry.verdict.advice:
        console.print(printable(f"Advice: {entry.verdict.advice}."))
    if entry.verdict.command:
        console.print(printable(f"Try: {entry.verdict.command}"), style="dim")


def _print_whole(console: Console, table: Table) -> None:
    """Print a table with all its numbers, also where it is a little wider than the console."""
    from rich.measure import Measurement

    width = console.width
    console.width = max(width, Measurement.get(console, console.options.update(max_width=WIDE), table).maximum)
    console.print(table)
    console.width = width


def _evidence(entry: Phase) -> str:
    """Return the evidence for the library layer in words, and whether it is exact or a bound."""
    taxbreak, text = entry.taxbreak, _EVIDENCE[entry.taxbreak.evidence]
    if taxbreak.library_bound == "lower":
        return f"{text}; a lower bound: {', '.join(taxbreak.unmarked_libraries)} launched kernels and marked no range"
    if taxbreak.library_bound == "upper":
        return f"{text}; an upper bound"
    return f"{text}, exact" if taxbreak.evidence == "ranges" else text


def _where(entry: Phase) -> str:
    if entry.ranks is not None:
        return f"{len(entry.ranks.ranks)} ranks, {entry.ranks.kind}"
    return "all its threads" if entry.combined else f"process {entry.process}, thread {entry.thread}"


def _hdbi(console: Console, entry: Phase) -> None:
    hdbi = entry.taxbreak.hdbi
    if hdbi is None:
        console.print(f"HDBI not measured: {entry.taxbreak.hdbi_reason}", style="bold")
        return
    filled = round(20 * hdbi)
    scale = "#" * filled + "." * (20 - filled)
    console.print(f"HDBI {hdbi:.3f} {bound_word(entry)}   host [{scale}] device", style="bold")
    note = beside_hdbi(entry)
    if note is not None:
        console.print(note)


def _layer_table(entry: Phase, unit: str | None) -> Table:
    from rich.table import Table

    between = entry.between_ns
    # with the column "Between", the table fits into 80 characters only with one blank between columns
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="", padding=(0, 1, 0, 0 if between else 1))
    table.add_column("Layer", no_wrap=True)
    for title in ("Time", "Time (%)", "Exposed (%)", "in HDBI", *(["Between"] if between else [])):
        table.add_column(title, justify="right", no_wrap=True)
    states, taxbreak = entry.states_ns, entry.taxbreak
    exposed = phase_exposed_layers(entry)

    def row(name: str, ns: int | None, key: str, in_hdbi: int | None = None, *, always: bool = False) -> None:
        if ns or always:
            share = show_share(exposed[key], entry.wall_ns) if exposed and key in exposed else "-"
            cells = [name, show_time(ns, unit), show_share(ns, entry.wall_ns), share]
            cells.append(show_time(in_hdbi, unit) if in_hdbi is not None else "")
            if between:
                part = between_ns(entry, key)
                cells.append("-" if part is None else show_time(part, unit))
            table.add_row(*cells)

    ft, ct = taxbreak.delta_ft_ns, taxbreak.delta_ct_ns
    if taxbreak.ft_includes_library:
        row("framework + library", ft, "framework_library", ft, always=True)
    else:
        row("framework (delta_ft)", ft, "framework", ft, always=True)
    row("library (delta_ct)", ct, "library", ct, always=True)
    row("launch path (delta_kt)", states["launch"], "launch_path", taxbreak.delta_kt_ns, always=True)
    row("launching copies and sets", states["memop"], "memop")
    row("module loading", states["module_load"], "module_load")
    row("waiting for the device", states["device_wait"], "device_wait")
    row("waiting in the OS", states["os_wait"], "os_wait")
    sampled = entry.samples if taxbreak.evidence == "samples" else None
    row("profiler", states["profiler"], "profiler")
    row("off the CPU", sample_lines.off_cpu_outside_layers(entry) if sampled else None, "off_cpu")
    return table


def _idle(console: Console, result: Result, unit: str | None) -> None:
    for idle in result.idle:
        console.print()
        steps = f"{idle.instances} step" + ("s" if idle.instances != 1 else "")
        console.print(
            f"(idle) {steps} without requests on thread {idle.thread} of process {idle.process}: "
            f"{show_time(idle.total_ns, unit)} until the next mark"
        )


def _processes(console: Console, result: Result, unit: str | None) -> None:
    """Print the processes without CUDA calls that were on a CPU between the steps."""
    processes = [process for process in result.processes if process.on_cpu_between_ns]
    if processes:
        console.print()
    for process in processes:
        names = ", ".join(process.names[:3]) or "no name"
        console.print(
            printable(
                f"process {process.process} ({names}) calls no CUDA: on a CPU for "
                f"{show_time(process.on_cpu_between_ns, unit)} between the steps' marks "
                f"({show_time(process.on_cpu_ns, unit)} in all phases)"
            )
        )


def _outside(console: Console, result: Result, unit: str | None) -> None:
    outside = result.outside
    launches = outside.kernel_launches + outside.graph_launches + outside.memory_launches
    if not launches and not outside.kernels:
        return
    share = f", {outside.share:.1%} of all kernel time" if outside.share is not None else ""
    console.print()
    console.print(
        f"(outside) {launches} launches and {outside.kernels} kernels lie in no phase: "
        f"{show_time(outside.kernel_sum_ns, unit)}{share}"
    )


def _warnings(console: Console, result: Result) -> None:
    from rich.padding import Padding

    for warning in result.report.warnings:
        console.print()
        console.print(printable(f"Warning: {warning.message}."), style="yellow")
        console.print(Padding(printable(f"Remedy: {warning.remedy}"), (0, 0, 0, 2)))


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


def _listing(console: Console, result: Result, report: str, unit: str | None, order: RowOrder) -> None:
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
