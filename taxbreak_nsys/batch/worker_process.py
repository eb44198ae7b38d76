"""The process that a worker's reports are analysed in: one at a time, and again only while it is as good as new."""

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
"""What a process may hold more than at its start, in bytes, and still be given another report."""

_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies
_OF_ITS_PAST = ("memory", "defect")


def serve(jobs: Connection, settings: Settings, folder: Path) -> None:
    """Answer each job with an outcome and an Answer; ends after the first that leaves a trace.

    A report that fails, for whatever reason, is the last of its process.
    """
    os.setsid()  # so that what it starts ends with it
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    born = _held()
    answer = Answer(goes_on=True, doubtful=False)
    used = False
    while answer.goes_on:
        try:
            job: Job = jobs.recv()
        except (EOFError, ConnectionError):
            return
        with _limited(settings.memory, born):
            outcome: Outcome = examine(job, settings, folder)
        if isinstance(outcome, Failed):
            answer = Answer(goes_on=False, doubtful=used and outcome.kind in _OF_ITS_PAST)
        else:
            answer = Answer(goes_on=not settings.isolate and _is_clean(born), doubtful=False)
        jobs.send((outcome, answer))
        used = True


@dataclass(frozen=True)
class _Held:
    address_space: int
    descriptors: int


def _held() -> _Held:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return _Held(pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")))


def _is_clean(born: _Held) -> bool:
    """Tell whether the process holds no more than at its start, but for a little memory."""
    now = _held()
    return (
        now.address_space <= born.address_space + KEPT_MEMORY
        and now.descriptors <= born.descriptors
        and threading.active_count() == 1
    )


@contextmanager
def _limited(memory: int | None, born: _Held) -> Iterator[None]:
    """Hold the process to `memory` bytes above what it had at its start; the limit is lifted to send the answer."""
    if memory is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = born.address_space + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
