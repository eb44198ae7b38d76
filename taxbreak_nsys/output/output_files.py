"""Writes output files: completely or not at all, replacing only regular files, and never an input.

All commands write through this module, so that these rules are in one place.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taxbreak_nsys.errors import OutputError, TaxbreakError
from taxbreak_nsys.read.input_files import input_name

STANDARD_OUTPUT = Path("-")
"""The path `-o -`."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


def check_target(path: Path, force: bool) -> Path:
    """Return `path` if it may be written.

    Raises TaxbreakError if it is an input, a folder or a block device, if its folder is missing, or if the file exists
    and `force` is not given. Pipes and character devices are written to, not replaced.
    """
    if _descriptor(path) is not None:
        return path
    mode = _mode(path)
    if mode is None:
        target = Path(os.path.realpath(path))
        folder = target.parent if path.is_symlink() else path.parent
        if not folder.is_dir():
            raise TaxbreakError(f"{path}: the folder {folder} does not exist")
        if os.path.lexists(target):  # realpath resolves `missing/../name` as if `missing` existed
            raise TaxbreakError(f"{path}: leads through a folder that does not exist")
        return path
    if stat.S_ISDIR(mode):
        raise TaxbreakError(f"{path}: is a folder; give a file name with -o")
    if _is_stream(mode):
        return path
    if not stat.S_ISREG(mode):
        raise TaxbreakError(f"{path}: is a block device or a socket; give a file name with -o")
    if (name := input_name(path)) is not None:
        same = "this command reads it" if name == str(path) else f"it is the same file as {name}, which is read"
        raise TaxbreakError(f"{path}: would be overwritten, but {same}; give another file with -o")
    if not force:
        raise TaxbreakError(f"{path}: exists; give --force-overwrite to replace it")
    return path


def put_text(text: str, path: Path | None, *, force: bool) -> None:
    """Write text to a file, completely or not at all, or to standard output if `path` is None or `-`."""
    if path is None or path == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"), force=force)


def write_whole(path: Path, write: Callable[[Path], object], *, force: bool) -> None:
    """Let `write` fill a temporary file, then replace `path` by it; if that fails, no file is left behind.

    The temporary file is beside `path` and is renamed. For standard output, a pipe or a character device it is in the
    folder for temporary files, and is copied once it is complete. Of a symbolic link, the target is replaced.
    """
    check_target(path, force)
    mode = None if _descriptor(path) is not None else _mode(path)
    if _descriptor(path) is not None or (mode is not None and _is_stream(mode)):
        with tempfile.TemporaryDirectory(prefix="taxbreak-") as folder:
            whole = Path(folder) / "output"
            write(whole)
            _copy(whole, path)
        return
    target = Path(os.path.realpath(path))
    # the name is chosen first, so that `finally` can delete the file even if a signal interrupts its creation
    unfinished = target.parent / f".taxbreak-{secrets.token_hex(8)}{target.suffix[:16]}"
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        write(unfinished)
        mask = os.umask(0)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)
        check_target(path, force)  # another program may have created the file meanwhile
        unfinished.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # a read-only file system has the error above already
            unfinished.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> TaxbreakError:
    return TaxbreakError(f"{path}: cannot be written ({error.strerror or error})")


def _mode(path: Path) -> int | None:
    """Return the mode of the file that `path` leads to; None if there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_stream(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _descriptor(path: Path) -> int | None:
    """Return the file descriptor that `path` names, such as 1 for `-` and /dev/stdout; None for an ordinary path."""
    if path == STANDARD_OUTPUT:
        return 1
    absolute = os.path.abspath(path)
    match = _DESCRIPTOR.fullmatch(absolute)
    return int(match[1]) if match else _STANDARD.get(absolute)


def _copy(whole: Path, path: Path) -> None:
    """Copy a finished file to a stream; raises OutputError if writing fails, or if no process reads from the pipe."""
    number = _descriptor(path)
    try:
        if number == 1:
            sys.stdout.flush()
        # opening a pipe without a reader would block forever; O_NONBLOCK makes it fail with ENXIO
        handle = os.dup(number) if number is not None else os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        if number is None:
            os.set_blocking(handle, True)
        with whole.open("rb") as source, os.fdopen(handle, "wb") as stream:
            shutil.copyfileobj(source, stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = "no program reads from this pipe" if error.errno == errno.ENXIO else error.strerror or error
        raise OutputError(f"{path}: cannot be written ({reason})") from error
