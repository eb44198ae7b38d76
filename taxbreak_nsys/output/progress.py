"""Shows the progress of a long run on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with rate and time left, if standard error is a terminal; nothing else may write there meanwhile.

    Yields a function of two counts: the items done, and how many of them failed.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, failed: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}", style="red"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="", note="")

        def show(done: int, failed: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(
                task, completed=done, rate=f"{speed:.1f}/s" if speed else "", note=f"{failed} failed" if failed else ""
            )

        yield show
