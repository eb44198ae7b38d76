"""A file's identity: its SHA-256, a cheap fingerprint, and a stamp that shows whether it changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError

_HASHED_AT_ONCE = 1 << 20
"""Bytes per read: large, because after each read the thread waits for Python's interpreter lock."""
_SAMPLED_PAGES, _PAGE_BYTES = 64, 4096
_FINGERPRINT_DIGITS = 32


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


def fingerprint(path: Path) -> str:
    """Return a hash of a file's size and of 64 pages of it, the first and the last among them; it takes no time.

    Files with different fingerprints differ. Files with the same are almost certainly copies of one file; only
    `sha256` proves it. The first page of an SQLite file holds its change counter and the begin of its schema. Of a
    folder, the hash covers its files, by name.
    """
    digest = hashlib.sha256()
    try:
        for part in sorted(path.iterdir()) if path.is_dir() else [path]:
            if part != path:
                digest.update(part.name.encode())
            with part.open("rb", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                digest.update(b"%d" % size)
                last = max(size - _PAGE_BYTES, 0)
                for offset in sorted({last * page // (_SAMPLED_PAGES - 1) for page in range(_SAMPLED_PAGES)}):
                    file.seek(offset)
                    digest.update(file.read(_PAGE_BYTES))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:_FINGERPRINT_DIGITS]


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
