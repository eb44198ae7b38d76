"""`taxbreak-nsys trace REPORT -o trace.pftrace`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, AnalysisChoices, OneReport, TargetFile, WritingChoices
from taxbreak_nsys.cli.target_file import target_path
from taxbreak_nsys.cli.text_values import parse_time
from taxbreak_nsys.errors import TaxbreakError


def trace(
    *,
    report: OneReport,
    output: TargetFile = None,
    open: Annotated[
        bool,
        typer.Option("--open", rich_help_panel=OUTPUT,
                     help="Open the trace in the viewer, which fetches it from this machine."),
    ] = False,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="Averaging window of the counters.")
    ] = "10ms",
    written: WritingChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Write a trace for the Perfetto viewer: phases, layers, host states, device streams, launches as arrows.

    Example: taxbreak-nsys trace llama.sqlite -o llama.pftrace --open
    """
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.output.perfetto import write_perfetto
    from taxbreak_nsys.output.trace_spool import TraceSpool
    from taxbreak_nsys.pipeline.analysis import collect_report

    span = parse_time(window, "--window")
    if span <= 0:
        raise TaxbreakError(f"--window {window}: must be more than 0")
    target = target_path(output, [report], ".pftrace")
    check_target(target, written.force_overwrite)
    result, spool = collect_report(report, analysis.options(), TraceSpool)
    write_whole(target, lambda path: write_perfetto(result, spool, path, span), force=written.force_overwrite)
    if not written.quiet:
        print(f"wrote {target}" + ("" if open else "; open it at ui.perfetto.dev"), file=sys.stderr)
    if open:
        from taxbreak_nsys.cli.trace_viewer import show_trace

        show_trace(target)
