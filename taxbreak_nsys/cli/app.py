"""The command line: its commands and its entry point."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from taxbreak_nsys import __version__
from taxbreak_nsys.arrays.numpy_environment import set_for_numpy
from taxbreak_nsys.cli import recipe, store
from taxbreak_nsys.cli.analyze import analyze
from taxbreak_nsys.cli.batch import batch
from taxbreak_nsys.cli.capture import capture
from taxbreak_nsys.cli.command_group import DefaultCommandGroup, add_command, new_app
from taxbreak_nsys.cli.diff import diff
from taxbreak_nsys.cli.doctor import doctor
from taxbreak_nsys.cli.gate import gate
from taxbreak_nsys.cli.html import html
from taxbreak_nsys.cli.library_map import library_map
from taxbreak_nsys.cli.mcp import mcp
from taxbreak_nsys.cli.plot import plot
from taxbreak_nsys.cli.process_exit import PROGRAM, run_to_exit
from taxbreak_nsys.cli.scrub import scrub
from taxbreak_nsys.cli.slow_work import shown_when_slow
from taxbreak_nsys.cli.trace import trace
from taxbreak_nsys.cli.trend import trend
from taxbreak_nsys.cli.whatif import whatif

_ONE_REPORT, _VIEWS, _CAPTURING, _MANY_REPORTS = "Analyse", "Pictures", "Capture", "Many reports"

app = new_app(cls=DefaultCommandGroup, name=PROGRAM)
for command, panel in (
    (analyze, _ONE_REPORT),
    (diff, _ONE_REPORT),
    (gate, _ONE_REPORT),
    (whatif, _ONE_REPORT),
    (library_map, _ONE_REPORT),
    (html, _VIEWS),
    (plot, _VIEWS),
    (trace, _VIEWS),
    (capture, _CAPTURING),
    (doctor, _CAPTURING),
    (scrub, _CAPTURING),
    (batch, _MANY_REPORTS),
    (trend, _MANY_REPORTS),
    (mcp, _MANY_REPORTS),
):
    # options after the program's name belong to the program that capture runs
    settings = {"context_settings": {"allow_interspersed_args": False}} if command is capture else {}
    add_command(app, command, panel, **settings)
app.add_typer(store.app, name="store", rich_help_panel=_MANY_REPORTS)
app.add_typer(recipe.app, name="recipe", rich_help_panel=_MANY_REPORTS)


def _show_version(value: bool) -> None:
    if value:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Which layer of the software stack costs host time: TaxBreak and HDBI from an Nsight Systems report.

    'taxbreak-nsys REPORT...' is short for 'taxbreak-nsys analyze REPORT...'.
    """


def main() -> None:
    """Run the command line; errors of input are one line on stderr and exit code 2."""
    set_for_numpy()
    try:
        # With standalone_mode=False, app() returns the exit code of a typer.Exit, else None.
        with shown_when_slow():
            run_to_exit(lambda: app(prog_name=PROGRAM, standalone_mode=False))
    finally:
        gc.freeze()  # skip the garbage collection at exit, which takes longer than analysing a small report
