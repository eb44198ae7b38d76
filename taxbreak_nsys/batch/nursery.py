"""The process that the reports' processes are forked from: `python -P -m taxbreak_nsys.batch.nursery FD`.

Importing what an analysis needs takes longer than to analyse a small report, so it is done once: this process
imports it, runs no thread of its own, and forks the children that the reports are analysed in. To fork for each report
would cost half as much again as a small report takes (memory copied on write), so a child that a report has left as
it was is given the next one; any other is replaced. A child has limits of time and memory a report, and its death is
an answer like any other. It is a program of its own and not multiprocessing's forkserver because it must also work
inside a Dask worker, which is a daemon and may not have children there.
"""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import signal
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from taxbreak_nsys.batch.child import Answer, serve
from taxbreak_nsys.batch.job import Failed, Job, Settings

def main() -> None:
    """Answer jobs until the other end is gone."""
    upstream = Connection(int(sys.argv[1]))
    gc.disable()  # what is imported stays
    import_all()
    gc.freeze()
    gc.enable()
    try:
        settings, folder = upstream.recv()
    except (EOFError, ConnectionError):
        return
    nursery = Nursery(settings, folder, upstream)
    try:
        while True:
            try:
                job: Job = upstream.recv()
            except (EOFError, ConnectionError):
                return
            answer = nursery.answer(job)
            if answer is None:
                return
            upstream.send_bytes(answer)
            _empty(folder)
    finally:
        nursery.end()
        shutil.rmtree(folder, ignore_errors=True)


def import_all() -> None:
    """Import what an analysis would import at its first use."""
    import adbc_driver_manager  # noqa: F401
    import adbc_driver_sqlite  # noqa: F401
    import numpy.ma  # noqa: F401  (numpy asks for it at the first sort of unique values)
    import pyarrow as pa
    import pyarrow.compute
    import sqlalchemy.dialects.sqlite  # noqa: F401

    import taxbreak_nsys.analysis  # noqa: F401

    pa.set_cpu_count(1)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


class Nursery:
    """One child at a time, and its replacement where a report has not left it as it was."""

    def __init__(self, settings: Settings, folder: Path, upstream: Connection) -> None:
        """Start without a child; the first job makes one."""
        self._settings, self._folder, self._upstream = settings, folder, upstream
        self._child: _Child | None = None

    def answer(self, job: Job) -> bytes | None:
        """Analyse one report; returns the pickled outcome, None where nobody waits for it any more."""
        while True:
            if self._child is None or not self._child.alive:
                self.end()
                self._child = _Child(self._settings, self._folder, self._upstream)
            found, answer = self._child.ask(job)
            if not answer.goes_on:
                self.end()
            if not answer.doubtful:
                return found
            _empty(self._folder)

    def end(self) -> None:
        """End the child and all that it started."""
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """A forked process and the pipe to it."""

    def __init__(self, settings: Settings, folder: Path, upstream: Connection) -> None:
        context = get_context("fork")
        self._timeout, self._upstream = settings.timeout_s, upstream
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_in_child, args=(theirs, settings, folder, (self._pipe, upstream)))
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, job: Job) -> tuple[bytes | None, Answer]:
        """Return the pickled outcome, None where nobody waits for it, and what the child says of itself."""
        began = time.monotonic()
        over = Answer(goes_on=False, doubtful=False)
        try:
            self._pipe.send(job)
            ready = wait([self._pipe, self._upstream], self._timeout)
            if self._upstream in ready and self._pipe not in ready:
                return None, over
            if not ready:
                late = f"took longer than {self._timeout:g} s; give more with --timeout"
                return _failed(job, "timeout", late, began), over
            return self._pipe.recv_bytes(), self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            by = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            hint = (
                "out of memory, or by hand"
                if code == -signal.SIGKILL
                else "a crash, maybe at the limit that --memory sets"
            )
            died = f"its process was ended by {by} ({hint}); the others are not touched"
            return _failed(job, "killed", died, began), over

    def end(self) -> None:
        self._pipe.close()
        if self._process.pid is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it had no time to lead a group, or is gone with all of it
                self._process.kill()
        self._process.join()


def _in_child(
    jobs: Connection, settings: Settings, folder: Path, of_the_nursery: tuple[Connection, ...]
) -> None:
    for connection in of_the_nursery:  # the other ends must see when the nursery dies
        connection.close()
    serve(jobs, settings, folder)


def _failed(job: Job, kind: str, what: str, began: float) -> bytes:
    took = round(1000 * (time.monotonic() - began))
    return pickle.dumps(Failed(job.path, kind, f"{job.path}: {what}", milliseconds=took))


if __name__ == "__main__":
    main()
