"""Runs the program as the command line does, but in this process: a new one takes seconds of imports."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.cli.app import main


@dataclass(frozen=True)
class Done:
    """What a run of the program left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object, cwd: Path | None = None) -> Done:
    out, err = io.StringIO(), io.StringIO()
    before, folder = sys.argv, Path.cwd()
    sys.argv = ["taxbreak-nsys", *map(str, words)]
    code: object = 0
    try:
        os.chdir(cwd or folder)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as done:
        code = done.code or 0
    finally:
        sys.argv = before
        os.chdir(folder)
    return Done(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())
