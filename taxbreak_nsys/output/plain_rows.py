"""Cells and tables of the terminal output of `diff`, `gate` and `whatif`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = Mapping[str, Any]


def percent(share: float | None, *, signed: bool = False) -> str:
    """Return a share as per cent with one decimal, or a dash for None; never `-0.0`."""
    if share is None:
        return "-"
    rounded = round(100 * share, 1) + 0.0
    return f"{rounded:+.1f}" if signed else f"{rounded:.1f}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` decimals, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def plain_table(*titles: str) -> Table:
    """Return an empty table without lines; the first column is left-aligned, the others are right-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="")
    for column, title in enumerate(titles):
        table.add_column(title, justify="right" if column else "left", no_wrap=True)
    return table


def console_text(console: Console) -> str:
    """Return the text printed on a console of `text_report.text_console`, without trailing blanks."""
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
