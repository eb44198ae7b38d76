"""`taxbreak-nsys diff BEFORE AFTER`: did the change help, and in which layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import AnalysisChoices, DocumentFormat, OutputChoices, TableChoices
from taxbreak_nsys.model.choices import SummaryFormat


def diff(
    *,
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A report, or a folder of reports of one kind.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The report or folder to compare with it.")],
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="BEFORE=AFTER", help="Compare these two phases; repeatable."),
    ] = None,
    format: DocumentFormat = SummaryFormat.TABLE,
    tables: TableChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:
    """Compare two captures per step: wall, layers, exposed time, HDBI, kernels, each with a 95 % interval.

    Example: taxbreak-nsys diff before.sqlite after.sqlite --map decode=decode_graph
    """
    from taxbreak_nsys.comparison.comparison import compare
    from taxbreak_nsys.comparison.diff_report import render_diff
    from taxbreak_nsys.gating.side_sources import analyze_side
    from taxbreak_nsys.output.output_files import put_text

    written.check()
    options = analysis.options()
    old, new = (analyze_side(side, options) for side in (before, after))
    text = render_diff(compare(old, new, map or ()), format, tables.timeunit)
    put_text(text, written.output, force=written.force_overwrite)
    if written.output is not None and not written.quiet:
        print(f"wrote {written.output}", file=sys.stderr)
