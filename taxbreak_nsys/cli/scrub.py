"""`taxbreak-nsys scrub REPORT -o CLEAN.sqlite`: list the private data in a report, or write a copy without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, OneReport, WritingChoices


def scrub(
    *,
    report: OneReport,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", rich_help_panel=OUTPUT,
                     help="The copy to write; without it, list what the report gives away."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Also replace the names of kernels, ranges, threads and symbols.")
    ] = False,
    written: WritingChoices,
) -> None:  # fmt: skip
    """Write a shareable copy: same results, with environment, paths and other processes' names removed.

    Example: taxbreak-nsys scrub llama.sqlite -o llama-clean.sqlite
    """
    from taxbreak_nsys.scrub import gives_away, kept_lines, write_clean

    if output is None:
        findings = gives_away(report)
        for finding in findings:
            print(finding)
        if not findings:
            print("nothing but names of kernels, ranges and threads (--names)")
        return
    copied = write_clean(report, output, names=names, force=written.force_overwrite)
    if not written.quiet:
        print(
            f"wrote {output}: {copied.tables} tables, {copied.rows} rows, {copied.texts} texts (the report has "
            f"{copied.texts_of_report})",
            file=sys.stderr,
        )
        for line in kept_lines(copied, names=names):
            print(line, file=sys.stderr)
