"""Running the program as a user does, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "taxbreak_nsys")


def run_program(*arguments: str | Path | bytes, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program with `arguments`; `options` are those of `subprocess.run`."""
    named = [argument if isinstance(argument, bytes) else str(argument) for argument in arguments]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    return subprocess.run([*COMMAND, *named], **(settings | options))


def one_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the line of a refusal: nothing on standard output, one printable line, an exit code."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert not done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("taxbreak-nsys: ")
    assert done.stderr[:-1].isprintable()
    return done.stderr
