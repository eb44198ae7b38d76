"""The process from which worker processes are forked: `python -P -m taxbreak_nsys.batch.fork_server FD`.

Importing the libraries takes longer than analysing a small report, so it is done once, in this process. It runs no
threads, and on request forks a child with its own pipe to the batch. It is a separate program, not multiprocessing's
forkserver, because it must also work inside a Dask worker: a daemonic process, to which multiprocessing allows no
children.
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
    """Serve Fork and End requests until the pipe is closed; then kill all children and remove their folders."""
    upstream = Connection(int(sys.argv[1]))
    gc.disable()  # imported modules are never freed
    import_all()
    gc.freeze()
    gc.enable()
    children: dict[int, tuple[BaseProcess, Path]] = {}
    try:
        while True:
            try:
                request: Fork | End = upstream.recv()
                if isinstance(request, Fork):
                    child = _fork(request, upstream)
                    if child is not None and child.pid is not None:
                        children[child.pid] = child, request.folder
                    upstream.send(child.pid if child is not None else 0)
                else:
                    upstream.send(_end(children.pop(request.pid)[0]))
            except (EOFError, ConnectionError):
                return
    finally:
        for child, folder in children.values():
            _end(child)
            shutil.rmtree(folder, ignore_errors=True)


def import_all() -> None:
    """Load all that an analysis loads on first use, so that it does not count toward a report's memory limit."""
    import adbc_driver_manager
    import adbc_driver_sqlite
    import numpy.ma  # noqa: F401  (numpy imports it at the first np.unique)
    import pyarrow as pa
    import pyarrow.compute

    import taxbreak_nsys.pipeline.analysis  # noqa: F401

    pa.set_cpu_count(1)
    with adbc_driver_sqlite.connect(":memory:") as database, adbc_driver_manager.AdbcConnection(database):
        pass  # loads the driver


def _fork(request: Fork, upstream: Connection) -> BaseProcess | None:
    with Connection(recv_handle(upstream)) as jobs:
        child = get_context("fork").Process(target=_child_main, args=(jobs, request, upstream, os.getpid()))
        try:
            child.start()
        except OSError:  # out of memory or processes; the batch learns of it from the closed pipe
            return None
        return child


def _child_main(jobs: Connection, request: Fork, upstream: Connection, fork_server: int) -> None:
    upstream.close()  # else the batch would not notice the fork server's death while a child lives
    serve(jobs, request.settings, request.folder, fork_server)


def _end(child: BaseProcess) -> int | None:
    if child.pid is not None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it is no group leader yet, or the whole group is gone
            child.kill()
    child.join()
    return child.exitcode


if __name__ == "__main__":
    serve_forks()
