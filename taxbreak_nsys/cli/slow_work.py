"""Shows a status line on the terminal while a command takes more than two seconds: current work and elapsed time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from taxbreak_nsys.arrays.thread_start import start_thread

PATIENCE = 2.0
"""Seconds after which the line appears."""


@contextmanager
def shown_when_slow() -> Iterator[None]:
    """Show `current_work` on standard error while the block runs, if standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(done,), daemon=True)
    start_thread(watcher)
    try:
        yield
    finally:
        done.set()
        watcher.join(timeout=1)


def _watch(done: threading.Event) -> None:
    begun = time.monotonic()
    if done.wait(PATIENCE):
        return
    from rich.console import Console

    from taxbreak_nsys.model.current_work import current_work

    console = Console(stderr=True)
    while not done.is_set():
        if (work := current_work()) is None:
            done.wait(0.2)  # the command has its own display, such as batch's progress bar
            continue
        with console.status(work) as status:
            while not done.wait(0.5) and (work := current_work()) is not None:
                status.update(f"{work} ({time.monotonic() - begun:.0f} s)")
