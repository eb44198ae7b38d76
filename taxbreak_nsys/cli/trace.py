"""`taxbreak-nsys trace REPORT -o trace.pftrace`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError


def trace(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A .sqlite export or a .nsys-rep file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    format: Annotated[str, typer.Option("-f", "--format", help="perfetto or chrome (JSON).")] = "perfetto",
    window: Annotated[str, typer.Option("--window", metavar="TIME", help="What the counters look back on.")] = "10ms",
    phase: shared_options.Phases = None,
    start: shared_options.Start = None,
    end: shared_options.End = None,
    process: shared_options.Process = None,
    thread: shared_options.Thread = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:
    """Write a trace for the Perfetto viewer: phases, layers, host states, device streams, launches as arrows.

    Example: taxbreak-nsys trace llama.sqlite -o llama.pftrace; open it at ui.perfetto.dev
    """
    from taxbreak_nsys.output.chrome_trace import write_chrome
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.output.perfetto import write_perfetto
    from taxbreak_nsys.output.trace_spool import TraceSpool
    from taxbreak_nsys.pipeline.analysis import collect_report

    writers = {"perfetto": write_perfetto, "chrome": write_chrome}
    if format not in writers:
        raise TaxbreakError(f"--format {format!r}: not one of {', '.join(writers)}")
    span = shared_options.parse_time(window, "--window")
    if span <= 0:
        raise TaxbreakError(f"--window {window}: must be more than 0")
    check_target(output, force_overwrite)
    options = shared_options.analysis_options(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    result, spool = collect_report(report, options, TraceSpool)
    write_whole(output, lambda path: writers[format](result, spool, path, span), force=force_overwrite)
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)
