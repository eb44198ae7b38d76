"""Worker process: analyses reports one by one; reused only if the last one leaked no memory, file or thread."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from taxbreak_nsys.batch.job import Answer, Job, Settings
from taxbreak_nsys.batch.report_examination import examine
from taxbreak_nsys.store.records import Failed, Outcome

KEPT_MEMORY = 64 << 20
"""Growth of the address space, in bytes, up to which a process is reused."""

_PR_SET_PDEATHSIG = 1  # prctl option of Linux: signal to send to this process when its parent dies
_MAYBE_FROM_EARLIER_REPORTS = ("memory", "defect")


def serve(jobs: Connection, settings: Settings, folder: Path, fork_server: int) -> None:
    """Answer each job with (outcome, Answer); return after the first failure or the first leak.

    A closed pipe also ends it, and so does the death of the process `fork_server`, its parent.
    """
    os.setsid()  # so that its descendants can be killed with it
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != fork_server:  # it died before prctl: no signal will come
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    at_start = _resources()
    answer = Answer(goes_on=True, doubtful=False)
    used = False
    while answer.goes_on:
        try:
            job: Job = jobs.recv()
        except (EOFError, ConnectionError):
            return
        with _limited(settings.memory, at_start):
            outcome: Outcome = examine(job, settings, folder)
        if isinstance(outcome, Failed):
            answer = Answer(goes_on=False, doubtful=used and outcome.kind in _MAYBE_FROM_EARLIER_REPORTS)
        else:
            answer = Answer(goes_on=not settings.isolate and _is_clean(at_start), doubtful=False)
        jobs.send((outcome, answer))
        used = True


@dataclass(frozen=True)
class _Resources:
    address_space: int
    descriptors: int


def _resources() -> _Resources:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return _Resources(pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")))


def _is_clean(at_start: _Resources) -> bool:
    """Return whether the process leaked no file or thread and at most KEPT_MEMORY bytes since its start."""
    current = _resources()
    return (
        current.address_space <= at_start.address_space + KEPT_MEMORY
        and current.descriptors <= at_start.descriptors
        and threading.active_count() == 1
    )


@contextmanager
def _limited(memory: int | None, at_start: _Resources) -> Iterator[None]:
    """Limit the address space to `memory` bytes more than at the start, while a report is analysed."""
    if memory is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = at_start.address_space + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
