"""`taxbreak-nsys REPORT…`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    from taxbreak_nsys.result import Result


def analyze(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
    ],
    report: Annotated[
        list[str] | None,
        typer.Option("-r", "--report", metavar="NAME", help="taxbreak_sum (default), taxbreak_kern_sum, "
                     "taxbreak_op_sum, taxbreak_api_sum, taxbreak_sample_sum, taxbreak_symbol_sum, "
                     "taxbreak_step_trace or taxbreak_trace; repeatable.", show_default=False),
    ] = None,
    format: Annotated[str, typer.Option("-f", "--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    timeunit: Annotated[
        str | None, typer.Option("--timeunit", help="nsec, usec, msec or sec, for table and csv.", show_default=False)
    ] = None,
    phase: shared_options.Phases = None,
    phases: shared_options.PhaseSources = None,
    ignore_marks: shared_options.IgnoreMarks = False,
    engine: shared_options.Engine = None,
    phase_rules: shared_options.PhaseRules = None,
    by: shared_options.By = None,
    start: shared_options.Start = None,
    end: shared_options.End = None,
    process: shared_options.Process = None,
    thread: shared_options.Thread = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    modules: shared_options.Modules = None,
    reference: shared_options.Reference = None,
    library_map: shared_options.LibraryMap = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Split host time into framework, CUDA library and launch path, with HDBI, for each phase.

    Example: taxbreak-nsys llama.sqlite --phase 'decode=^decode' -f json -o llama.json
    """
    from taxbreak_nsys.read.report_inspection import Opening

    first = Opening(reports[0])  # goes on while the modules below load
    from taxbreak_nsys.output.formats import FORMATS
    from taxbreak_nsys.output.result_tables import DEFAULT_REPORT, INTERVALS, check_report_name
    from taxbreak_nsys.output.units import UNITS
    from taxbreak_nsys.pipeline.analysis import analyze_report as analyze_report

    names = [check_report_name(name) for name in report or [DEFAULT_REPORT]]
    if format not in FORMATS:
        raise TaxbreakError(f"--format {format!r}: not one of {', '.join(FORMATS)}")
    if timeunit is not None and timeunit not in UNITS:
        raise TaxbreakError(f"--timeunit {timeunit!r}: not one of {', '.join(UNITS)}")
    if format == "parquet" and output is None:
        raise TaxbreakError("-f parquet needs -o FILE")
    targets = _targets(output, names, force_overwrite)
    options = shared_options.analysis_options(
        phase, start, end, process, thread, t_sys, null_report, evidence, skip,
        phases, ignore_marks, engine, phase_rules, by,
        modules=modules, reference=reference, library_map=library_map,
    )  # fmt: skip

    results: list[Result] = []
    failed = False
    for number, path in enumerate(reports):
        try:
            opening = None if number else first
            results.append(analyze_report(path, options, intervals=INTERVALS in names, opening=opening))
        except TaxbreakError as error:
            if len(reports) == 1:
                raise
            failed = True
            print(f"taxbreak-nsys: {error}", file=sys.stderr)
    if results:
        for name, target in zip(names, targets, strict=True):
            _put(results, name, format, timeunit, target, force_overwrite, quiet)
    if failed:
        raise typer.Exit(2)


def _targets(output: Path | None, names: list[str], force: bool) -> list[Path | None]:
    """Return a file for each report, as nsys names them: FILE for one, FILE_<report> for several."""
    from taxbreak_nsys.output.output_files import check_target

    if output is None:
        return [None] * len(names)
    if len(names) == 1:
        return [check_target(output, force)]
    return [check_target(output.with_name(f"{output.stem}_{name}{output.suffix}"), force) for name in names]


def _put(
    results: list[Result],
    name: str,
    format: str,
    unit: str | None,
    target: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    from taxbreak_nsys.output import formats, text_report
    from taxbreak_nsys.output.output_files import write_whole

    if format == "parquet":
        assert target is not None
        write_whole(target, lambda path: formats.write_parquet(results, name, path), force=force)
    else:
        if format == "json":
            shown = formats.results_json(results, name)
        elif format == "csv":
            shown = formats.to_csv(results, name, unit)
        else:
            shown = "\n".join(text_report.render_text(result, name, unit) for result in results)
        if target is None:
            sys.stdout.write(shown)
            return
        write_whole(target, lambda path: path.write_text(shown, encoding="utf-8"), force=force)
    if not quiet:
        print(f"wrote {target}", file=sys.stderr)
