"""The process that the reports' processes are forked from: `python -P -m taxbreak_nsys.batch.nursery FD`.

Importing what an analysis needs takes longer than to analyse a small report, so it is done once: this process
imports it, runs no thread of its own, and forks a child for each report that it is sent. A child has limits of time
and memory, and its death is an answer like any other. It is a program of its own and not multiprocessing's
forkserver because it must also work inside a Dask worker, which is a daemon and may not have children there.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from taxbreak_nsys.batch.examine import examine
from taxbreak_nsys.batch.job import Failed, Job, Outcome, Settings

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
"""For this process: no threads before a fork, and no memory set aside that a limit would count."""
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def main() -> None:
    """Answer jobs until the other end is gone."""
    upstream = Connection(int(sys.argv[1]))
    settings, folder = upstream.recv()
    _import_all()
    try:
        while True:
            try:
                job: Job = upstream.recv()
            except (EOFError, ConnectionError):
                return
            answer = _in_child(job, settings, folder, upstream)
            if answer is None:
                return
            upstream.send(answer)
            _empty(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _import_all() -> None:
    """Import what an analysis would import at its first use, and keep it out of the children's garbage runs."""
    import adbc_driver_manager  # noqa: F401
    import adbc_driver_sqlite  # noqa: F401
    import pandas  # noqa: F401  (Arrow asks for it when it hands columns to numpy)
    import pyarrow as pa
    import pyarrow.compute
    import sqlalchemy.dialects.sqlite  # noqa: F401

    import taxbreak_nsys.analysis  # noqa: F401

    pa.set_cpu_count(1)
    gc.collect()
    gc.freeze()


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _in_child(job: Job, settings: Settings, folder: Path, upstream: Connection) -> Outcome | None:
    """Analyse one report in a child; None where nobody waits for the answer any more."""
    began = time.monotonic()
    receiver, sender = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=_child, args=(job, settings, folder, sender, upstream))
    child.start()
    sender.close()
    try:
        ready = wait([receiver, upstream], settings.timeout_s)
        if upstream in ready and receiver not in ready:
            return None
        if not ready:
            return _failed(
                job, "timeout", f"took longer than {settings.timeout_s:g} s; give more with --timeout", began
            )
        try:
            outcome: Outcome = receiver.recv()
            return outcome
        except EOFError:
            child.join()
            return _died(job, child, began)
    finally:
        receiver.close()
        _end(child)


def _child(job: Job, settings: Settings, folder: Path, sender: Connection, upstream: Connection) -> None:
    os.setsid()  # so that what it starts ends with it
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    upstream.close()  # the other end must see when the nursery dies
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    with _limited(settings.memory):
        outcome = examine(job, settings, folder)
    sender.send(outcome)
    sender.close()


@contextmanager
def _limited(memory: int | None) -> Iterator[None]:
    """Hold the process to `memory` bytes above what it has now; the limit is lifted again to send the answer."""
    if memory is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end(child: BaseProcess) -> None:
    """End a child and all that it started."""
    if child.pid is not None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it had no time to lead a group, or is gone with all of it
            child.kill()
    child.join()


def _failed(job: Job, kind: str, what: str, began: float) -> Failed:
    return Failed(job.path, kind, f"{job.path}: {what}", milliseconds=round(1000 * (time.monotonic() - began)))


def _died(job: Job, child: BaseProcess, began: float) -> Failed:
    code = child.exitcode or 0
    by = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    hint = "out of memory, or by hand" if code == -signal.SIGKILL else "a crash, maybe at the limit that --memory sets"
    return _failed(job, "killed", f"its process was ended by {by} ({hint}); the others are not touched", began)


if __name__ == "__main__":
    main()
