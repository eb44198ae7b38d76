"""The entry point of the command line."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import typer

from taxbreak_nsys.arrays.numpy_environment import set_for_numpy
from taxbreak_nsys.cli.command_group import REPORT_NAMES, add_command
from taxbreak_nsys.cli.process_exit import PROGRAM, run_to_exit
from taxbreak_nsys.cli.program import ANALYSIS_PANEL, new_program
from taxbreak_nsys.cli.slow_work import shown_when_slow


def main() -> None:
    """Run the command line; errors of input are one line on stderr and exit code 2."""
    set_for_numpy()
    try:
        # With standalone_mode=False, the application returns the exit code of a typer.Exit, else None.
        with shown_when_slow():
            run_to_exit(lambda: _application(sys.argv[1:])(prog_name=PROGRAM, standalone_mode=False))
    finally:
        gc.freeze()  # skip the garbage collection at exit, which takes longer than analysing a small report


def _application(words: list[str]) -> typer.Typer:
    """Return the application; for `taxbreak-nsys REPORT...` with one command, since building all takes 0.03 s."""
    if words and Path(words[0]).suffix in REPORT_NAMES:
        from taxbreak_nsys.cli.analyze import analyze

        app = new_program()
        add_command(app, analyze, ANALYSIS_PANEL)
        return app
    from taxbreak_nsys.cli.all_commands import app as whole

    return whole
