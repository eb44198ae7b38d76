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
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read any more ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest, buffer = hashlib.sha256(), bytearray(_HASHED_AT_ONCE)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(view):
                digest.update(view[:size])
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
