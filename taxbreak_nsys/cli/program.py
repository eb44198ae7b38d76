"""The program as a Typer application, still without commands."""

from __future__ import annotations

from typing import Annotated

import typer

from taxbreak_nsys import __version__
from taxbreak_nsys.cli.command_group import DefaultCommandGroup, new_app
from taxbreak_nsys.cli.process_exit import PROGRAM

ANALYSIS_PANEL = "Analyse"
"""Panel of the help with the commands that analyse a report."""


def new_program() -> typer.Typer:
    """Return the program without commands, with its global options."""
    app = new_app(cls=DefaultCommandGroup, name=PROGRAM)
    app.callback()(_root)
    return app


def _show_version(value: bool) -> None:
    if value:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Which layer of the software stack costs host time: TaxBreak and HDBI from an Nsight Systems report.

    'taxbreak-nsys REPORT...' is short for 'taxbreak-nsys analyze REPORT...'.
    """
