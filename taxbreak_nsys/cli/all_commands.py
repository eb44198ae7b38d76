"""The application with all commands."""

from __future__ import annotations

from taxbreak_nsys.cli import recipe, store
from taxbreak_nsys.cli.analyze import analyze
from taxbreak_nsys.cli.batch import batch
from taxbreak_nsys.cli.capture import capture
from taxbreak_nsys.cli.command_group import add_command
from taxbreak_nsys.cli.diff import diff
from taxbreak_nsys.cli.doctor import doctor
from taxbreak_nsys.cli.gate import gate
from taxbreak_nsys.cli.html import html
from taxbreak_nsys.cli.library_map import library_map
from taxbreak_nsys.cli.mcp import mcp
from taxbreak_nsys.cli.plot import plot
from taxbreak_nsys.cli.program import ANALYSIS_PANEL, new_program
from taxbreak_nsys.cli.scrub import scrub
from taxbreak_nsys.cli.trace import trace
from taxbreak_nsys.cli.trend import trend
from taxbreak_nsys.cli.whatif import whatif

_VIEWS, _CAPTURING, _MANY_REPORTS = "Pictures", "Capture", "Many reports"

app = new_program()
for command, panel in (
    (analyze, ANALYSIS_PANEL),
    (diff, ANALYSIS_PANEL),
    (gate, ANALYSIS_PANEL),
    (whatif, ANALYSIS_PANEL),
    (library_map, ANALYSIS_PANEL),
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
