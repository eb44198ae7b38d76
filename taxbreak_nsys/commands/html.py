"""`taxbreak-nsys html REPORT… -o report.html`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.commands import arguments


def html(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    events: Annotated[
        int, typer.Option("--events", min=1000, help="Host intervals and device operations in the timelines.")
    ] = 50_000,
    phase: arguments.Phases = None,
    start: arguments.Start = None,
    end: arguments.End = None,
    process: arguments.Process = None,
    thread: arguments.Thread = None,
    t_sys: arguments.TSys = None,
    null_report: arguments.NullReport = None,
    evidence: arguments.Evidence = None,
    skip: arguments.Skip = 0,
    reference: arguments.Reference = None,
    force_overwrite: arguments.Force = False,
    quiet: arguments.Quiet = False,
) -> None:
    """Write one HTML file that shows layers, steps, timelines, kernels; it opens offline and can be mailed.

    Example: taxbreak-nsys html before.sqlite after.sqlite -o report.html
    """
    from taxbreak_nsys.analysis import analyze
    from taxbreak_nsys.output.files import check_target, write_whole
    from taxbreak_nsys.output.html.page import render

    check_target(output, force_overwrite)
    options = arguments.options_of(
        phase, start, end, process, thread, t_sys, null_report, evidence, skip, reference=reference
    )
    page = render([analyze(report, options, columns=True) for report in reports], events)
    write_whole(output, lambda path: path.write_text(page, encoding="utf-8"), force=force_overwrite)
    if not quiet:
        print(f"wrote {output} ({len(page.encode()) / 1e6:.1f} MB)", file=sys.stderr)
