"""`taxbreak-nsys diff BEFORE AFTER`: did the change help, and in which layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError

FORMATS = ("table", "csv", "json")
_SUFFIXES = (".sqlite", ".nsys-rep")


def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A report, or a folder of reports of one kind.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The same of what is compared with it.")],
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="BEFORE=AFTER", help="Compare these two phases; repeatable.", show_default=False),
    ] = None,
    format: Annotated[str, typer.Option("-f", "--format", help="table, csv or json.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    timeunit: shared_options.TimeUnit = None,
    phase: shared_options.Phases = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:
    """Compare two captures a step: wall, layers, exposed time, HDBI, kernels, each with a 95 % interval.

    Example: taxbreak-nsys diff before.sqlite after.sqlite --map decode=decode_graph
    """
    from taxbreak_nsys.compare.comparison import compare
    from taxbreak_nsys.compare.diff_report import render_diff
    from taxbreak_nsys.output.output_files import check_target, put_text
    from taxbreak_nsys.pipeline.analysis import analyze_report

    shared_options.check_choice("--format", format, FORMATS)
    shared_options.check_unit(timeunit)
    if output is not None:
        check_target(output, force_overwrite)
    options = shared_options.analysis_options(phase, None, None, None, None, t_sys, null_report, evidence, skip)
    one, other = ([analyze_report(path, options) for path in _reports(side)] for side in (before, after))
    put_text(render_diff(compare(one, other, map or ()), format, timeunit), output, force=force_overwrite)
    if output is not None and not quiet:
        print(f"wrote {output}", file=sys.stderr)


def _reports(side: Path) -> list[Path]:
    """Return the report itself, or the reports of a folder in the order of their names."""
    if not side.is_dir():
        return [side]
    found = sorted(path for path in side.iterdir() if path.suffix in _SUFFIXES)
    # an export beside its capture is the same report
    kept = [path for path in found if path.suffix == ".sqlite" or path.with_suffix(".sqlite") not in found]
    if not kept:
        raise TaxbreakError(f"{side}: the folder holds no .sqlite export and no .nsys-rep")
    return kept
