"""Whether a file is still the same: its hash, and what changes with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError

_HASHED_AT_ONCE = 1 << 20
"""Bytes: enough that other threads, which hold the interpreter in between, do not slow it down."""


def stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file does: its size and the time of its last change, ns."""
    try:
        status = path.stat()
        if path.is_dir():
            within = [file.stat() for file in path.iterdir()]
            return sum(file.st_size for file in within), max(file.st_mtime_ns for file in [status, *within])
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read any more ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; of a folder, that of its files' names and contents in order."""
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
