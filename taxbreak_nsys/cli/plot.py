"""`taxbreak-nsys plot REPORT… -o figure.svg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, AnalysisChoices, SeveralReports, WritingChoices
from taxbreak_nsys.errors import TaxbreakError


def plot(
    *,
    reports: SeveralReports,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="A .svg, .png or .pdf file.", rich_help_panel=OUTPUT)
    ],
    per_step: Annotated[
        bool, typer.Option("--per-step", help="Draw milliseconds per step, not shares of the wall time.")
    ] = False,
    threads: Annotated[bool, typer.Option("--threads", help="Draw each thread of a phase, too.")] = False,
    written: WritingChoices,
    analysis: AnalysisChoices,
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
    check_target(output, written.force_overwrite)
    options = analysis.options()
    results = [analyze_report(report, options) for report in reports]
    write_whole(
        output,
        lambda path: write_figure(results, path, format, per_step=per_step, threads=threads),
        force=written.force_overwrite,
    )
    if not written.quiet:
        print(f"wrote {output}", file=sys.stderr)
