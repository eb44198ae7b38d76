"""`taxbreak-nsys plot REPORT… -o figure.svg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError


def plot(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .svg, .png or .pdf file.")],
    per_step: Annotated[bool, typer.Option("--per-step", help="Milliseconds a step, not shares of the wall.")] = False,
    threads: Annotated[bool, typer.Option("--threads", help="Each thread of a phase, too.")] = False,
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
    """Draw the layers of each phase as stacked bars, for a paper or a slide.

    Example: taxbreak-nsys plot before.sqlite after.sqlite -o layers.pdf --per-step
    """
    from taxbreak_nsys.output.matplotlib_figure import FORMATS, write_figure
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.pipeline.analysis import analyze_report

    format = output.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise TaxbreakError(f"{output}: the name must end in {', '.join('.' + name for name in FORMATS)}")
    check_target(output, force_overwrite)
    options = shared_options.analysis_options(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    results = [analyze_report(report, options) for report in reports]
    write_whole(
        output,
        lambda path: write_figure(results, path, format, per_step=per_step, threads=threads),
        force=force_overwrite,
    )
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)
