"""A command that takes long says on a terminal what it does; elsewhere it says nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.support.reports import ROOT

SLOW = """
import time
from taxbreak_nsys.cli import slow_work
from taxbreak_nsys.model.current_work import working
slow_work.PATIENCE = 0.2
with slow_work.shown_when_slow():
    with working("exporting run.nsys-rep"):
        time.sleep({seconds})
print("answer")
"""


def on_terminal(seconds: float) -> tuple[str, str]:
    """Run the work with standard error on a terminal; return what that shows, and standard output."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SLOW.format(seconds=seconds)], cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs,
        text=True, env=os.environ | {"TERM": "xterm", "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux: the other side has closed
                break
            if not part:
                break
            shown += part
        assert process.stdout is not None
        answer = process.stdout.read()
    os.close(ours)
    return shown.decode(), answer


def test_slow_work_is_shown_on_a_terminal() -> None:
    shown, answer = on_terminal(3.0)
    assert "exporting run.nsys-rep" in shown
    assert " s)" in shown
    assert answer == "answer\n"


def test_quick_work_is_not_shown() -> None:
    shown, _ = on_terminal(0.0)
    assert shown == ""


@pytest.mark.parametrize("seconds", [0.5])
def test_nothing_is_shown_without_a_terminal(seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW.format(seconds=seconds)], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("answer\n", "")
