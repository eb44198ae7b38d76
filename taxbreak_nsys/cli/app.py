"""The command line: which command, and how errors are shown."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taxbreak_nsys import __version__
from taxbreak_nsys.cli import recipe, store
from taxbreak_nsys.cli.analyze import analyze
from taxbreak_nsys.cli.batch import batch
from taxbreak_nsys.cli.capture import capture
from taxbreak_nsys.cli.diff import diff
from taxbreak_nsys.cli.doctor import doctor
from taxbreak_nsys.cli.gate import gate
from taxbreak_nsys.cli.html import html
from taxbreak_nsys.cli.library_map import library_map
from taxbreak_nsys.cli.plot import plot
from taxbreak_nsys.cli.scrub import scrub
from taxbreak_nsys.cli.trace import trace
from taxbreak_nsys.cli.trend import trend
from taxbreak_nsys.cli.whatif import whatif
from taxbreak_nsys.errors import TaxbreakError

DEFAULT_COMMAND = "analyze"
_OWN_OPTIONS = ("--help", "-h", "--version", "--install-completion", "--show-completion")


class _DefaultGroup(TyperGroup):
    """Reads `taxbreak-nsys REPORT…` as `taxbreak-nsys analyze REPORT…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in _OWN_OPTIONS:
            args = [DEFAULT_COMMAND, *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=_DefaultGroup,
    name="taxbreak-nsys",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(analyze)
app.command()(html)
app.command()(diff)
app.command()(gate)
app.command()(whatif)
app.command(context_settings={"allow_interspersed_args": False})(capture)
app.command()(doctor)
app.command()(scrub)
app.command()(trace)
app.command()(plot)
app.command()(library_map)
app.add_typer(recipe.app, name="recipe")
app.command()(batch)
app.add_typer(store.app, name="store")
app.command()(trend)


def _show_version(value: bool) -> None:
    if value:
        print(f"taxbreak-nsys {__version__}")
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
    # numpy's linear algebra is not used, and its threads spin for a tenth of a second before they find out
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except TaxbreakError as error:
        print(f"taxbreak-nsys: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # the reader of our output went away; keep the interpreter from complaining about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # all of it ends with the process; to search it for garbage first takes longer than a small report
