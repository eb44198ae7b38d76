"""Threads where memory is short: an error, never a wait without end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from taxbreak_nsys.arrays import background, thread_start
from taxbreak_nsys.arrays.background import BackgroundTask, Prefetcher
from taxbreak_nsys.arrays.thread_start import start_thread


def test_a_thread_runs_as_with_python_alone() -> None:
    done: list[int] = []
    thread = threading.Thread(target=done.append, args=(1,))
    start_thread(thread)
    thread.join()
    assert done == [1]
    assert not thread.is_alive()


def test_a_thread_that_never_begins_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_start, "_PATIENCE", 0.1)
    thread = threading.Thread(target=print)
    monkeypatch.setattr(thread, "_bootstrap", lambda: None)  # dies before it says that it has begun
    with pytest.raises(MemoryError):
        start_thread(thread)


def test_a_thread_that_dies_without_a_word_ends_the_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_LOOK_AFTER", 0.05)

    def full(self: object, item: object) -> bool:
        raise MemoryError

    def items() -> Iterator[int]:
        yield 1

    monkeypatch.setattr(Prefetcher, "_put", full)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    prefetcher = Prefetcher(items(), 2)  # type: ignore[arg-type]
    with pytest.raises(MemoryError):
        next(prefetcher)


TIGHT = """
import os, resource, sys, threading
from taxbreak_nsys.arrays.background import BackgroundTask
kept = threading.Thread(target=len, args=("",))
kept.start()
kept.join()  # its stack stays, so that the next thread finds one
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGESIZE"),) * 2)
try:
    print(BackgroundTask(lambda: 7).result())
except (MemoryError, RuntimeError):
    print("memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_no_memory_for_a_thread_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", TIGHT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() in ("memory", "7"), done.stderr


def test_a_task_without_a_result_is_an_error() -> None:
    task = BackgroundTask(lambda: 1)
    assert task.result() == 1
    task._done.clear()
    with pytest.raises(MemoryError):
        task.result()
