"""`taxbreak-nsys plot REPORT… -o figure.svg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.commands import arguments
from taxbreak_nsys.errors import TaxbreakError


def plot(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .svg, .png or .pdf file.")],
    per_step: Annotated[bool, typer.Option("--per-step", help="Milliseconds a step, not shares of the wall.")] = False,
    threads: Annotated[bool, typer.Option("--threads", help="Each thread of a phase, too.")] = False,
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
    """Draw the layers of each phase as stacked bars, for a paper or a slide.

    Example: taxbreak-nsys plot before.sqlite after.sqlite -o layers.pdf --per-step
    """
    from taxbreak_nsys.analysis import analyze
    from taxbreak_nsys.output.figure import FORMATS, write_figure
    from taxbreak_nsys.output.files import check_target, write_whole

    format = output.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise TaxbreakError(f"{output}: the name must end in {', '.join('.' + name for name in FORMATS)}")
    check_target(output, force_overwrite)
    options = arguments.options_of(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    results = [analyze(report, options) for report in reports]
    write_whole(
        output,
        lambda path: write_figure(results, path, format, per_step=per_step, threads=threads),
        force=force_overwrite,
    )
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)
