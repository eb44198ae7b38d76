"""Temporary Arrow files that are mapped into memory, and whose pages are given back while a table is read."""

from __future__ import annotations

import mmap
from pathlib import Path
from weakref import WeakSet

import pyarrow as pa

_maps: WeakSet[mmap.mmap] = WeakSet()
"""The files that tables point into; a table that is gone closes its file."""


def mapped_table(path: Path) -> pa.Table:
    """Return the table of an Arrow file; its columns point into the file, which may be deleted meanwhile."""
    with path.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.add(mapped)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()


def release_mapped_pages() -> None:
    """Let the system reclaim the pages of all mapped tables, and the memory that Arrow has freed and keeps.

    A later access to a table reads its pages from the file again.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        for mapped in list(_maps):
            mapped.madvise(mmap.MADV_DONTNEED)
    pa.default_memory_pool().release_unused()
