"""The process that the reports' processes are forked from: `python -P -m taxbreak_nsys.batch.fork_server FD`.

Importing what an analysis needs takes longer than to analyse a small report, so it is done once: this process
imports it, runs no thread of its own, and forks a child with its own pipe to the batch whenever it is asked for one.
It is a program of its own and not multiprocessing's forkserver because it must also work inside a Dask worker, which
is a daemon and may not have children there.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle
from pathlib import Path

from taxbreak_nsys.batch.job import End, Fork
from taxbreak_nsys.batch.worker_process import serve


def serve_forks() -> None:
    """Do what is asked until the other end is gone; then end all children and remove their folders."""
    upstream = Connection(int(sys.argv[1]))
    gc.disable()  # what is imported stays
    import_all()
    gc.freeze()
    gc.enable()
    children: dict[int, tuple[BaseProcess, Path]] = {}
    try:
        while True:
            try:
                asked: Fork | End = upstream.recv()
                if isinstance(asked, Fork):
                    child = _fork(asked, upstream)
                    if child is not None and child.pid is not None:
                        children[child.pid] = child, asked.folder
                    upstream.send(child.pid if child is not None else 0)
                else:
                    upstream.send(_end(children.pop(asked.pid)[0]))
            except (EOFError, ConnectionError):
                return
    finally:
        for child, folder in children.values():
            _end(child)
            shutil.rmtree(folder, ignore_errors=True)


def import_all() -> None:
    """Import and load what an analysis would at its first use, where a report's limit of memory would count it."""
    import adbc_driver_manager
    import adbc_driver_sqlite
    import numpy.ma  # noqa: F401  (numpy asks for it at the first sort of unique values)
    import pyarrow as pa
    import pyarrow.compute

    import taxbreak_nsys.pipeline.analysis  # noqa: F401

    pa.set_cpu_count(1)
    with adbc_driver_sqlite.connect(":memory:") as database, adbc_driver_manager.AdbcConnection(database):
        pass  # the driver is loaded now


def _fork(asked: Fork, upstream: Connection) -> BaseProcess | None:
    with Connection(recv_handle(upstream)) as jobs:
        child = get_context("fork").Process(target=_in_child, args=(jobs, asked, upstream))
        try:
            child.start()
        except OSError:  # no memory or no process left: the other end of the pipe is closed, which says so
            return None
        return child


def _in_child(jobs: Connection, asked: Fork, upstream: Connection) -> None:
    upstream.close()  # the batch must see when the fork server dies
    serve(jobs, asked.settings, asked.folder)


def _end(child: BaseProcess) -> int | None:
    if child.pid is not None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it had no time to lead a group, or is gone with all of it
            child.kill()
    child.join()
    return child.exitcode


if __name__ == "__main__":
    serve_forks()
