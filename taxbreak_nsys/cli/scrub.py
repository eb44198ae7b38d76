"""`taxbreak-nsys scrub REPORT -o CLEAN.sqlite`: what a report gives away, and a copy without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options


def scrub(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A .sqlite export or .nsys-rep.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The copy; without it, say what the report gives away."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Also replace what kernels, ranges, threads and symbols are called.")
    ] = False,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Write a copy of a report that can be posted: the same figures, without environment, paths and others' names.

    Example: taxbreak-nsys scrub llama.sqlite -o llama-clean.sqlite
    """
    from taxbreak_nsys.scrub import gives_away, write_clean

    if output is None:
        found = gives_away(report)
        for finding in found:
            print(finding)
        if not found:
            print("nothing but names of kernels, ranges and threads (--names)")
        return
    copied = write_clean(report, output, names=names, force=force_overwrite)
    if not quiet:
        print(
            f"wrote {output}: {copied.tables} tables, {copied.rows} rows, {copied.texts} texts (the report has "
            f"{copied.texts_of_report})",
            file=sys.stderr,
        )
