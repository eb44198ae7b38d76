"""A file's SHA-256, and its stamp of size and modification time that shows whether it changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError

_HASHED_AT_ONCE = 1 << 20
"""Bytes per read: large, because after each read the thread waits for Python's interpreter lock."""


def stamp(path: Path) -> tuple[int, int]:
    """Return (size in bytes, modification time in ns) of a file; of a folder, the sum and the latest of its files.

    Raises TaxbreakError where the file is gone or unreadable.
    """
    try:
        status = path.stat()
        if path.is_dir():
            within = [file.stat() for file in path.iterdir()]
            return sum(file.st_size for file in within), max(file.st_mtime_ns for file in [status, *within])
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read any more ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; of a folder, the hash of its files' names and contents, by name."""
    digest, buffer = hashlib.sha256(), bytearray(_HASHED_AT_ONCE)
    view = memoryview(buffer)
    try:
        for part in sorted(path.iterdir()) if path.is_dir() else [path]:
            if part != path:
                digest.update(part.name.encode())
            with part.open("rb", buffering=0) as file:
                while size := file.readinto(view):
                    digest.update(view[:size])
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
