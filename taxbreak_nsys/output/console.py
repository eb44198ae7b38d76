"""The console of text outputs: it prints into memory, as wide as the terminal, and no text of a report controls it."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NARROW = 80
WIDE = 120


def text_console() -> Console:
    """Return a console that prints into memory, as wide as the terminal (80 columns without one).

    Colour is used if standard output is a terminal and NO_COLOR is not set.
    """
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() else os.get_terminal_size().columns if terminal else NARROW
    return Console(
        file=io.StringIO(), width=max(40, min(width, WIDE)), force_terminal=terminal,
        no_color=not terminal or bool(os.environ.get("NO_COLOR")), highlight=False, markup=False, emoji=False,
        legacy_windows=False,
    )  # fmt: skip


def printable(text: str) -> str:
    """Return text from a report with non-printable characters replaced, so that it cannot control the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_whole(console: Console, table: Table) -> None:
    """Print a table with all its numbers, also where it is a little wider than the console."""
    from rich.measure import Measurement

    width = console.width
    console.width = max(width, Measurement.get(console, console.options.update(max_width=WIDE), table).maximum)
    console.print(table)
    console.width = width
