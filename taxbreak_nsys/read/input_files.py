"""The files that a command reads, by identity: no output may replace one of them."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError

_noted: dict[tuple[int, int], str] | None = None
"""(device, inode) of each input to the name that the user gave; None outside `kept_inputs`."""

_LARGEST_TEXT = 100_000_000
"""Bytes; a device such as /dev/zero has no end."""


@contextmanager
def kept_inputs() -> Iterator[None]:
    """Record every file that is read in this context, so that no output can overwrite it.

    The record ends with the context: the system may reuse the inode of a deleted file.
    """
    global _noted
    before = _noted
    _noted = dict(before or {})
    try:
        yield
    finally:
        _noted = before


def note_input(path: str | Path) -> None:
    """Record a file as an input if a `kept_inputs` context is active and the file exists."""
    identity = _identity(path)
    if _noted is not None and identity is not None:
        _noted.setdefault(identity, str(path))


def input_name(path: str | Path) -> str | None:
    """Return the user's name for the recorded input that `path` resolves to, through links; None for other files."""
    identity = _identity(path)
    return None if identity is None or _noted is None else _noted.get(identity)


def read_user_text(path: Path) -> str:
    """Return the text of a file of at most 100 MB and record it as an input; raises OSError or UnicodeError."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_TEXT + 1)
    if len(content) > _LARGEST_TEXT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    note_input(path)
    return content.decode("utf-8").replace("\r\n", "\n")


def read_user_toml(path: Path, option: str, page: str) -> dict[str, Any]:
    """Return the content of a TOML file; raises TaxbreakError, which names `option` and the page that says its form."""
    try:
        return tomllib.loads(read_user_text(path))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); give {option} a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise TaxbreakError(f"{path}: not TOML ({reason}); see {page} for the form of {option}") from error


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
