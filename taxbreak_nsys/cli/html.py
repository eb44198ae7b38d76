"""`taxbreak-nsys html REPORT… -o report.html`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options


def html(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    events: Annotated[
        int, typer.Option("--events", min=1000, help="Host intervals and device operations in the timelines.")
    ] = 50_000,
    phase: shared_options.Phases = None,
    start: shared_options.Start = None,
    end: shared_options.End = None,
    process: shared_options.Process = None,
    thread: shared_options.Thread = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    reference: shared_options.Reference = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:
    """Write one HTML file that shows layers, steps, timelines, kernels; it opens offline and can be mailed.

    Example: taxbreak-nsys html before.sqlite after.sqlite -o report.html
    """
    from taxbreak_nsys.output.html.html_page import render_page
    from taxbreak_nsys.output.html.timelines import TimelineCollector
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.pipeline.analysis import collect_report

    check_target(output, force_overwrite)
    options = shared_options.analysis_options(
        phase, start, end, process, thread, t_sys, null_report, evidence, skip, reference=reference
    )
    each = events // len(reports)
    collected = [collect_report(report, options, lambda steps: TimelineCollector(steps, each)) for report in reports]
    page = render_page([result for result, _ in collected], [timelines for _, timelines in collected])
    write_whole(output, lambda path: path.write_text(page, encoding="utf-8"), force=force_overwrite)
    if not quiet:
        print(f"wrote {output} ({len(page.encode()) / 1e6:.1f} MB)", file=sys.stderr)
