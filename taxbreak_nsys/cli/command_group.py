"""Groups of commands: how they are registered, which command a mistyped word meant, how a wrong call is reported."""

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
_SUFFIXES = (".sqlite", ".nsys-rep")
_SIMILARITY = 0.6

# Typer brings its own click since 0.25 and uses the package before; a class that both export leads to the base
CallError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def new_app(**settings: Any) -> typer.Typer:
    """Return an application whose help is in panels and whose errors are left to `app.main`."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def add_command(app: typer.Typer, command: Callable[..., None], panel: str | None = None, **settings: Any) -> None:
    """Register a command with its groups of options; its docstring is the help, a paragraph per line."""
    app.command(help=help_text(command), rich_help_panel=panel, **settings)(with_option_groups(command))


def help_text(command: Callable[..., None]) -> str:
    """Return a docstring as Typer should show it: lines joined to paragraphs, square brackets kept."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ").replace("[", "\\[") for paragraph in paragraphs)


class DefaultCommandGroup(TyperGroup):
    """Reads `taxbreak-nsys REPORT…` as `taxbreak-nsys analyze REPORT…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before a first word that is neither a command nor an option of the program."""
        if args and args[0] not in self.commands and args[0] not in self._own_options(ctx):
            if not ctx.resilient_parsing:
                self._refuse_mistyped(args[0])
            args = [DEFAULT_COMMAND, *args]
        return list(super().parse_args(ctx, args))

    def _own_options(self, ctx: Any) -> set[str]:
        return {name for parameter in self.get_params(ctx) for name in parameter.opts}

    def _refuse_mistyped(self, word: str) -> None:
        """Raise TaxbreakError where a word cannot be a report and was probably meant as a command."""
        if word.startswith("-") or Path(word).suffix in _SUFFIXES or "/" in word or Path(word).exists():
            return
        close = nearest(word, self.commands)
        meant = f"did you mean {close!r}?" if close else "'taxbreak-nsys --help' lists the commands"
        raise TaxbreakError(f"{word!r}: no such command and no such file; {meant}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to a mistyped one, None where none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_SIMILARITY)), None)


def call_error_line(error: Any) -> str:
    """Return a wrong call in one line, with the command whose help says more."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path} --help')" if context is not None else message
