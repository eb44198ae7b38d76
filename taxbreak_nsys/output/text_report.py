"""The text report for the terminal: readable in 80 columns, without colour, and through a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers
from taxbreak_nsys.output import sample_lines
from taxbreak_nsys.output.console import print_whole, printable, text_console
from taxbreak_nsys.output.os_wait_lines import os_wait_lines
from taxbreak_nsys.output.result_tables import DEFAULT_REPORT
from taxbreak_nsys.output.shown_rows import RowOrder
from taxbreak_nsys.output.step_lines import between_modules, between_ns, shown_entries, step_lines
from taxbreak_nsys.output.text_listing import print_listing
from taxbreak_nsys.output.units import show_share, show_time
from taxbreak_nsys.verdict.device_word import beside_hdbi, bound_word

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from taxbreak_nsys.result import Phase, Result

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
        print_listing(console, result, report, unit, order or RowOrder())
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


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
    _os_waits(console, result, unit)
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
    print_whole(console, _layer_table(entry, unit))
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


def _os_waits(console: Console, result: Result, unit: str | None) -> None:
    """Print who was on a CPU while the host threads of an engine waited in the OS."""
    lines = os_wait_lines(result, unit)
    if lines:
        console.print()
    for line in lines:
        console.print(printable(line))


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
