"""Work that a second thread does ahead of time: an iterator and a single task."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Generic, TypeVar

from taxbreak_nsys.arrays.thread_start import start_thread

T = TypeVar("T")
_LOOK_AFTER = 1.0
"""Seconds after which a consumer that got nothing looks whether the thread is still there."""


class Prefetcher(Generic[T]):
    """An iterator that a second thread runs ahead of its consumer; `next` raises the thread's exceptions."""

    def __init__(self, items: Generator[T], ready: int) -> None:
        """Start the thread; it stays at most `ready` items ahead of the consumer."""
        self._ready: queue.Queue[T | BaseException | None] = queue.Queue(ready)
        self._stopped = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        start_thread(self._thread)

    def _run(self, items: Generator[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(None)
        except BaseException as error:  # __next__ raises it in the consumer's thread
            self._put(error)
        finally:
            items.close()

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._ready.put(item, timeout=0.1)
                return True
        return False

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        """Return the next item, or raise the error that ended the thread."""
        if self._ended:
            raise StopIteration
        item = self._taken()
        if item is None or isinstance(item, BaseException):
            self._ended = True
            self._thread.join()
            raise item if item is not None else StopIteration
        return item

    def _taken(self) -> T | BaseException | None:
        while True:
            with suppress(queue.Empty):
                return self._ready.get(timeout=_LOOK_AFTER)
            if not self._thread.is_alive() and self._ready.empty():
                return MemoryError("a thread had no memory to report its error")

    def close(self) -> None:
        """Stop the thread and wait for its end; items that were not taken are lost."""
        self._stopped.set()
        self._thread.join()


class BackgroundTask(Generic[T]):
    """A function that runs in a second thread; the end of a `with` block waits for it.

    Runs on a daemon thread: the interpreter does not wait for it at exit.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._done: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        start_thread(self._thread)

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._done.append(work())
        except BaseException as error:  # result() raises it in the caller's thread
            self._error = error

    def __enter__(self) -> BackgroundTask[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def result(self) -> T:
        """Wait for the work; return its result or raise its error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if not self._done:
            raise MemoryError("a thread had no memory to report its error")
        return self._done[0]
