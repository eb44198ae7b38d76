"""`taxbreak-nsys trace REPORT -o trace.pftrace`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.commands import arguments
from taxbreak_nsys.errors import TaxbreakError


def trace(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A .sqlite export or a .nsys-rep file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    format: Annotated[str, typer.Option("-f", "--format", help="perfetto or chrome (JSON).")] = "perfetto",
    window: Annotated[str, typer.Option("--window", metavar="TIME", help="What the counters look back on.")] = "10ms",
    phase: arguments.Phases = None,
    start: arguments.Start = None,
    end: arguments.End = None,
    process: arguments.Process = None,
    thread: arguments.Thread = None,
    t_sys: arguments.TSys = None,
    null_report: arguments.NullReport = None,
    evidence: arguments.Evidence = None,
    skip: arguments.Skip = 0,
    force_overwrite: arguments.Force = False,
    quiet: arguments.Quiet = False,
) -> None:
    """Write a trace for the Perfetto viewer: phases, layers, host states, device streams, launches as arrows.

    Example: taxbreak-nsys trace llama.sqlite -o llama.pftrace; open it at ui.perfetto.dev
    """
    from taxbreak_nsys.analysis import analyze
    from taxbreak_nsys.output.chrome import write_chrome
    from taxbreak_nsys.output.files import check_target, write_whole
    from taxbreak_nsys.output.perfetto import write_perfetto

    writers = {"perfetto": write_perfetto, "chrome": write_chrome}
    if format not in writers:
        raise TaxbreakError(f"--format {format!r}: not one of {', '.join(writers)}")
    span = arguments.parse_time(window, "--window")
    if span <= 0:
        raise TaxbreakError(f"--window {window}: must be more than 0")
    check_target(output, force_overwrite)
    options = arguments.options_of(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    result = analyze(report, options, columns=True)
    write_whole(output, lambda path: writers[format](result, path, span), force=force_overwrite)
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)
