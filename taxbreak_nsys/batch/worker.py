"""The batch's side of its processes: the client of the fork server, and workers that analyse one report at a time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from pathlib import Path
from types import TracebackType

from taxbreak_nsys.arrays.numpy_environment import numpy_settings
from taxbreak_nsys.batch.job import Answer, End, Fork, Job, Settings
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.store.records import Failed, Outcome

ENVIRONMENT = numpy_settings() | {
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
"""Environment of the fork server: no threads before a fork, no reserved memory that a limit would count."""


class ForkServer:
    """Client of the fork server process, which is restarted if it dies; a context manager."""

    def __init__(self) -> None:
        """Start the process; it imports in parallel to the caller."""
        self._start()

    def _start(self) -> None:
        self._pipe, server_end = Pipe()
        # -P: never import from a folder of reports. New session: the terminal's Ctrl-C reaches only the parent.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "taxbreak_nsys.batch.fork_server", str(server_end.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(server_end.fileno(),),
            env=os.environ | ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        server_end.close()
        self._asked = False

    def fork(self, settings: Settings, folder: Path) -> Child:
        """Return a new child that may write to `folder`; raises TaxbreakError where no fork server can be started."""
        for _ in range(3):  # the present fork server may be dead already; two new ones must then fail
            own_end, child_end = Pipe()
            try:
                with child_end:
                    self._asked = True
                    self._pipe.send(Fork(settings, folder))
                    send_handle(self._pipe, child_end.fileno(), self._process.pid)
                return Child(self._pipe.recv(), own_end, self._process)
            except (EOFError, ConnectionError):  # the fork server was killed, and its children with it
                own_end.close()
                self.close()
                self._start()
        self.close()
        raise TaxbreakError(f"the process of the workers ends with code {self._process.returncode} at its start")

    def end(self, child: Child) -> int | None:
        """Kill a child and its descendants; return its exit code, None if it has none.

        It has none if it could not be started (pid 0), or if its fork server is gone too.
        """
        child.connection.close()
        if not child.pid or child.forked_from is not self._process:
            return None
        try:
            self._pipe.send(End(child.pid))
            code: int | None = self._pipe.recv()
            return code
        except (EOFError, ConnectionError):
            return None

    def close(self) -> None:
        """End the process, which first kills its children and removes their folders."""
        if not self._asked:
            self._process.kill()  # still importing: there are no children to end
        self._pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Child:
    """A forked process (pid 0 if the fork failed) and the pipe to it."""

    pid: int
    connection: Connection
    forked_from: subprocess.Popen[bytes]


class Worker:
    """Analyses one report at a time, each in a clean child process."""

    def __init__(self, fork_server: ForkServer, settings: Settings) -> None:
        """Create the worker; the first report forks a child."""
        self._fork_server, self._settings = fork_server, settings
        self._child: Child | None = None
        self._tries = 0
        # Emptied after each report. If this process dies first, the fork server removes it.
        self._folder = tempfile.TemporaryDirectory(prefix="taxbreak-", ignore_cleanup_errors=True)

    def give(self, job: Job, *, again: bool = False) -> Connection:
        """Send a report to the child; return the pipe that becomes readable when `take` can return the outcome."""
        if self._child is not None and self._child.connection.poll():  # end of file: the child died while idle
            self._end()
        if self._child is None:
            self._child = self._fork_server.fork(self._settings, Path(self._folder.name))
        self._job, self._began = job, time.monotonic()
        self._tries = self._tries + 1 if again else 1
        with suppress(ConnectionError):  # child dead: `take` will read end of file
            self._child.connection.send(job)
        return self._child.connection

    def give_again(self) -> Connection:
        """Send the same report to a new child."""
        return self.give(self._job, again=True)

    @property
    def left(self) -> float | None:
        """The seconds left for the report, at least 0; None without a limit."""
        limit = self._settings.timeout_s
        return None if limit is None else max(0.0, self._began + limit - time.monotonic())

    def take(self) -> Outcome | None:
        """Return the outcome of the report; None if the report must be given again (`give_again`)."""
        assert self._child is not None
        try:
            message: tuple[Outcome, Answer] = self._child.connection.recv()
        except (EOFError, ConnectionError):
            started = self._child.pid != 0
            code = self._end()
            # Not told from the fork server's exit code: a child can be gone before its parent's exit code is there.
            fork_server_died = started and code is None
            if fork_server_died and self._tries == 1:
                self._empty()
                return None  # the fork server's death took the child with it: try again
            return self._failed("killed", f"{_death(code)}; the others are not touched")
        outcome, answer = message
        if not answer.goes_on:
            self._end()
        self._empty()
        return None if answer.doubtful else outcome

    def stop(self) -> Outcome:
        """Kill the child because the report's time is over; return the failure."""
        self._end()
        limit = self._settings.timeout_s
        return self._failed("timeout", f"took longer than {limit:g} s; give more with --timeout")

    def run(self, job: Job) -> Outcome:
        """Analyse one report and return its outcome."""
        pipe = self.give(job)
        while True:
            ready = wait([pipe], self.left)
            outcome = self.take() if ready else self.stop()
            if outcome is not None:
                return outcome
            pipe = self.give_again()

    def leave(self) -> None:
        """Close the pipe to the child, which ends when it is idle."""
        if self._child is not None:
            self._child.connection.close()
            self._child = None

    def close(self) -> None:
        """Close the pipe and remove the folder; a report that still runs ends with the fork server."""
        self.leave()
        self._folder.cleanup()

    def _failed(self, kind: str, what: str) -> Failed:
        self._empty()
        return Failed(
            path=self._job.path,
            kind=kind,
            message=f"{self._job.path}: {what}",
            milliseconds=round(1000 * (time.monotonic() - self._began)),
        )

    def _end(self) -> int | None:
        child, self._child = self._child, None
        return self._fork_server.end(child) if child is not None else None

    def _empty(self) -> None:
        for entry in Path(self._folder.name).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _death(code: int | None) -> str:
    if code is None:
        return "its process could not be started, or was ended with the one that it was forked from"
    if code == -signal.SIGKILL:
        return "its process was ended by SIGKILL (out of memory, or by hand)"
    cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"its process was ended by {cause} (a crash, maybe at the limit that --memory sets)"
