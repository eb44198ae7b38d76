"""Writing what the user asked for: whole or not at all, and never over a file unasked."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError


def check_target(path: Path, force: bool) -> Path:
    """Return `path` if it may be written; raises TaxbreakError where a file is there and `force` is not given."""
    if path.is_dir():
        raise TaxbreakError(f"{path}: is a folder; give a file name with -o")
    if path.exists() and not force:
        raise TaxbreakError(f"{path}: exists; give --force-overwrite to replace it")
    if not path.parent.is_dir():
        raise TaxbreakError(f"{path}: the folder {path.parent} does not exist")
    return path


def put_text(text: str, path: Path | None, *, force: bool) -> None:
    """Write text to a file, whole or not at all, or to standard output where there is no path."""
    if path is None:
        sys.stdout.write(text)
    else:
        write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"), force=force)


def write_whole(path: Path, write: Callable[[Path], object], *, force: bool) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; nothing is left where that fails."""
    check_target(path, force)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    unfinished = Path(name)
    try:
        write(unfinished)
        mask = os.umask(0)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)
        unfinished.replace(path)
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)
