"""`taxbreak-nsys plot REPORT… -o figure.svg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, AnalysisChoices, OpenFile, SeveralReports, WritingChoices
from taxbreak_nsys.cli.target_file import open_file, target_path
from taxbreak_nsys.errors import TaxbreakError


def plot(
    *,
    reports: SeveralReports,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", rich_help_panel=OUTPUT,
                     help="A .svg, .png or .pdf file; default: the report's name with .svg in the current folder."),
    ] = None,
    open: OpenFile = False,
    per_step: Annotated[
        bool, typer.Option("--per-step", help="Draw milliseconds per step, not shares of the wall time.")
    ] = False,
    threads: Annotated[bool, typer.Option("--threads", help="Draw each thread of a phase, too.")] = False,
    written: WritingChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Draw the layers of each phase as stacked bars, for a paper or a slide.

    Example: taxbreak-nsys plot before.sqlite after.sqlite -o layers.pdf --per-step
    """
    from taxbreak_nsys.output.matplotlib_figure import FORMATS, write_figure
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.pipeline.analysis import analyze_report

    target = target_path(output, reports, ".svg")
    format = target.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise TaxbreakError(f"{target}: the name must end in {', '.join('.' + name for name in FORMATS)}")
    check_target(target, written.force_overwrite)
    options = analysis.options()
    results = [analyze_report(report, options) for report in reports]
    write_whole(
        target,
        lambda path: write_figure(results, path, format, per_step=per_step, threads=threads),
        force=written.force_overwrite,
    )
    if not written.quiet:
        print(f"wrote {target}", file=sys.stderr)
    if open and not open_file(target):
        raise TaxbreakError(f"{target}: written, but there is no browser to open it with")
