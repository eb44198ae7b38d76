"""The workers of one machine: a few nurseries, each of which analyses one report at a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

from taxbreak_nsys.batch.job import Failed, Job, Outcome, Settings

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
"""For a nursery: no threads before a fork, and no memory set aside that a limit would count."""


class Worker:
    """One nursery and the pipe to it; started again where it dies. Close it, or its end is that of this process."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Start the nursery; it imports while the caller goes on, who may say the settings later."""
        self._settings = settings
        self._start()

    def _start(self) -> None:
        self.connection, theirs = Pipe()
        # -P: a folder of reports is no place to import from. A session of its own: Ctrl-C is for the parent alone.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "taxbreak_nsys.batch.nursery", str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            env=os.environ | ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        # emptied after each report, and removed by the nursery too, should this process be the first to die
        self._folder = tempfile.TemporaryDirectory(prefix="taxbreak-", ignore_cleanup_errors=True)
        if self._settings is not None:
            self.use(self._settings)

    def use(self, settings: Settings) -> None:
        """Say what holds for all reports; once, before the first."""
        self._settings = settings
        self._send((settings, Path(self._folder.name)))

    def give(self, job: Job) -> None:
        """Send a report to be analysed; `take` returns its outcome."""
        self._job = job
        self._send(job)

    def _send(self, what: object) -> None:
        # where the nursery is dead, `take` finds the pipe at its end
        with contextlib.suppress(ConnectionError):
            self.connection.send(what)

    def take(self) -> Outcome:
        """Wait for the outcome of the report that was given."""
        try:
            outcome: Outcome = self.connection.recv()
            return outcome
        except (EOFError, ConnectionError):
            self.close()
            code = self._process.returncode
            self._start()
            return Failed(self._job.path, "killed", f"{self._job.path}: its worker process ended (code {code})")

    def run(self, job: Job) -> Outcome:
        """Analyse one report and wait for it."""
        self.give(job)
        return self.take()

    def leave(self) -> None:
        """Tell the nursery to end, without waiting for it: it ends its child and removes its folder."""
        if self._settings is None:
            self._process.kill()  # it is importing, and has nothing to clear up
        self.connection.close()

    def close(self) -> None:
        """End the nursery and wait for that."""
        self.leave()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Worker:
        """Return the worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


@contextlib.contextmanager
def started(count: int) -> Iterator[list[Worker]]:
    """Start workers that import while the caller goes on; whatever becomes of that, all are closed in the end."""
    workers: list[Worker] = []
    try:
        for _ in range(count):
            workers.append(Worker())
        yield workers
    finally:
        for worker in workers:  # all at once; then wait for each
            worker.leave()
        for worker in workers:
            worker.close()


def local_outcomes(jobs: Iterable[Job], settings: Settings, workers: Sequence[Worker]) -> Iterator[Outcome]:
    """Analyse reports with workers that were `started`; yields outcomes as they come, in no order.

    No more than one report a worker is held, and a worker without work ends. Closing the iterator ends what runs.
    """
    waiting = iter(jobs)
    busy: dict[Connection, Worker] = {}

    def give_next(worker: Worker) -> None:
        job = next(waiting, None)
        if job is None:
            worker.leave()
        else:
            worker.give(job)
            busy[worker.connection] = worker

    try:
        for worker in workers:
            worker.use(settings)
            give_next(worker)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                worker = busy.pop(ready)
                outcome = worker.take()
                give_next(worker)  # before the caller writes, so that nobody waits for that
                yield outcome
    finally:
        for worker in workers:
            worker.leave()
