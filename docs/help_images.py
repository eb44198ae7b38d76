"""Writes pictures of the help at 80 and 120 columns, docs/images/help-*.svg: `python docs/help_images.py`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

WIDTHS = (80, 120)
FOLDER = Path(__file__).with_name("images")


def help_text(*words: str, columns: int, colour: bool = False) -> str:
    """Return what `taxbreak-nsys WORDS --help` prints in a terminal of some width."""
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment |= {"FORCE_COLOR": "1"} if colour else {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "taxbreak_nsys", *words, "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def picture(columns: int) -> str:
    """Return the help of the program and of `analyze` as SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for words in ((), ("analyze",)):
        console.print(Text.from_ansi(help_text(*words, columns=columns, colour=True).strip("\n")))
    return console.export_svg(title=f"taxbreak-nsys --help, {columns} columns")


if __name__ == "__main__":
    for width in WIDTHS:
        (FOLDER / f"help-{width}.svg").write_text(picture(width), encoding="utf-8")
