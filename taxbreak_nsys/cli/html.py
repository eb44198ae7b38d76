"""`taxbreak-nsys html REPORT… -o report.html`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import AnalysisChoices, OpenFile, SeveralReports, TargetFile, WritingChoices
from taxbreak_nsys.cli.target_file import open_file, target_path
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.current_work import working


def html(
    *,
    reports: SeveralReports,
    output: TargetFile = None,
    open: OpenFile = False,
    events: Annotated[
        int,
        typer.Option("--events", min=1000, help="The most host intervals and device operations in the timelines."),
    ] = 50_000,
    written: WritingChoices,
    analysis: AnalysisChoices,
) -> None:
    """Write one HTML file with layers, steps, timelines and kernels; it opens offline and can be mailed.

    Example: taxbreak-nsys html before.sqlite after.sqlite -o report.html
    """
    from taxbreak_nsys.comparison.shown_changes import page_differences
    from taxbreak_nsys.output.html.html_details import PAGE_TABLES
    from taxbreak_nsys.output.html.html_page import render_page
    from taxbreak_nsys.output.html.timelines import TimelineCollector
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.pipeline.analysis import collect_report

    target = target_path(output, reports, ".html")
    check_target(target, written.force_overwrite)
    options = replace(analysis.options(), tables=PAGE_TABLES)
    each = events // len(reports)
    collected = [
        collect_report(report, options, lambda steps: TimelineCollector(steps, each), hashed=True) for report in reports
    ]
    results = [result for result, _ in collected]
    with working("building the page"):
        differences = page_differences(results) if len(results) == 2 else None
        page = render_page(results, [timelines for _, timelines in collected], differences)
    write_whole(target, lambda path: path.write_text(page, encoding="utf-8"), force=written.force_overwrite)
    if not written.quiet:
        print(f"wrote {target} ({len(page.encode()) / 1e6:.1f} MB)", file=sys.stderr)
    if open and not open_file(target):
        raise TaxbreakError(f"{target}: written, but there is no browser to open it with")
