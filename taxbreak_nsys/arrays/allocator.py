"""Keep freed memory in the process (glibc mallopt), so that the next window reuses its pages."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 1 << 28
_LARGEST_BYTES = 1 << 25


def keep_freed_memory() -> None:
    """Have glibc's allocator keep freed memory, up to a quarter of a GiB, for all threads; elsewhere do nothing.

    The columns of one window are as large as those of the next: without this, each is a fresh mapping whose pages the
    kernel fills with zeros one by one (docs/performance.md).
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
