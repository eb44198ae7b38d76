"""Starts threads without the risk to wait for ever where memory is short."""

from __future__ import annotations

import mmap
import threading

_ROOM = 1 << 18
"""Bytes that must be free: more than Python's first frame in a thread takes."""
_PATIENCE = 30.0
"""Seconds that a thread may take to begin, on the busiest machine."""


def start_thread(thread: threading.Thread) -> None:
    """Start a thread; raises MemoryError where there is too little memory for it to begin.

    Python itself waits for ever for a thread that dies of this before its first instruction.
    """
    try:
        mmap.mmap(-1, _ROOM).close()
    except OSError as error:
        raise MemoryError("no memory for a thread") from error
    thread._started = _Beginning()  # type: ignore[attr-defined]
    thread.start()


class _Beginning(threading.Event):
    """What `Thread.start` waits for: that the thread has begun. Waits no longer than _PATIENCE."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(_PATIENCE if timeout is None else timeout) and timeout is None:
            raise MemoryError("a new thread did not begin")
        return self.is_set()
