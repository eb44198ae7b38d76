"""Typer applications of this program: registration of commands, the default command, messages for wrong calls."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from taxbreak_nsys.cli.option_groups import with_option_groups
from taxbreak_nsys.errors import TaxbreakError

DEFAULT_COMMAND = "analyze"
REPORT_NAMES = (".sqlite", ".nsys-rep")
"""Endings of a word that is a report and no command."""
_SIMILARITY = 0.6

# Since 0.25 Typer has its own copy of click; before, it uses the package click. This finds the base class in either.
CallError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def new_app(**settings: Any) -> typer.Typer:
    """Return a Typer application with help in panels; its errors are handled in `app.main`."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def add_command(app: typer.Typer, command: Callable[..., None], panel: str | None = None, **settings: Any) -> None:
    """Register a command with its groups of options; its docstring becomes the help."""
    app.command(help=help_text(command), rich_help_panel=panel, **settings)(with_option_groups(command))


def help_text(command: Callable[..., None]) -> str:
    """Return the docstring formatted for Typer: each paragraph on one line, square brackets escaped."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ").replace("[", "\\[") for paragraph in paragraphs)


class DefaultCommandGroup(TyperGroup):
    """Reads `taxbreak-nsys REPORT…` as `taxbreak-nsys analyze REPORT…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command if the first word is neither a command nor a global option."""
        if args and args[0] not in self.commands and args[0] not in self._own_options(ctx):
            if not ctx.resilient_parsing:
                self._refuse_mistyped(args[0])
            args = [DEFAULT_COMMAND, *args]
        return list(super().parse_args(ctx, args))

    def _own_options(self, ctx: Any) -> set[str]:
        return {name for parameter in self.get_params(ctx) for name in parameter.opts}

    def _refuse_mistyped(self, word: str) -> None:
        """Raise TaxbreakError for a word that is no report, suggesting the nearest command."""
        if word.startswith("-") or Path(word).suffix in REPORT_NAMES or "/" in word or Path(word).exists():
            return
        close = nearest(word, self.commands)
        meant = f"did you mean {close!r}?" if close else "'taxbreak-nsys --help' lists the commands"
        raise TaxbreakError(f"{word!r}: no such command and no such file; {meant}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to a mistyped one, None if none is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_SIMILARITY)), None)


def call_error_line(error: Any) -> str:
    """Return click's error as one line that refers to the help of the command."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path} --help')" if context is not None else message
