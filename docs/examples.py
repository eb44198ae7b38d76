"""Writes the program's output into the pages that show it: `python docs/examples.py`.

A page asks for it with a comment before a fenced block; the words behind `output:` are the program's arguments:

    <!-- output: sample_reports/llama-1b.sqlite --phase decode=^decode -->
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
_EXAMPLE = re.compile(r"^<!-- output: (?P<arguments>[^\n]*) -->\n\n```\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL)


def output(arguments: str) -> str:
    """Return what the program prints to a terminal of 80 columns; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "taxbreak_nsys", *shlex.split(arguments)]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=DOCS.parent, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def with_examples(page: str) -> str:
    """Return a page with the blocks of its examples as the program prints them now."""
    return _EXAMPLE.sub(
        lambda example: example[0].replace(f"```\n{example['shown']}", f"```\n{output(example['arguments'])}"), page
    )


def pages() -> list[Path]:
    """Return the pages that show an output of the program."""
    return [page for page in sorted(DOCS.rglob("*.md")) if "<!-- output: " in page.read_text(encoding="utf-8")]


def main() -> None:
    """Write all pages anew."""
    for page in pages():
        page.write_text(with_examples(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
