"""How the program ends: an exit code, and one line on standard error in place of a traceback.

0: success; 1: a negative result (a broken gate rule, a batch with failures); 2: a wrong call or input; 70: a defect of
this program; 74: output that cannot be written; 128 + N: ended by signal N.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import typer

from taxbreak_nsys.cli.command_group import CallError, call_error_line
from taxbreak_nsys.errors import OutputError, TaxbreakError, is_memory_error
from taxbreak_nsys.read.input_files import kept_inputs

PROGRAM = "taxbreak-nsys"
TRACEBACK_VARIABLE = "TAXBREAK_TRACEBACK"
"""Environment variable; if set, the traceback of a defect is shown."""

_OUTPUT_ERRORS = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT, errno.EAGAIN}
_DEFECT, _NO_OUTPUT = 70, 74


class _ClosedOutput(io.TextIOBase):
    """Replaces a standard output that the caller has closed: writing fails instead of being ignored."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "is closed")


def run_to_exit(command: Callable[[], object]) -> NoReturn:
    """Run `command`, which returns an exit code or None, and end the process with that code.

    Every error becomes one line on standard error.
    """
    _open_standard_streams()
    _stop_at_signals()
    code: object = 0
    try:
        try:
            with kept_inputs():
                code = command()
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_output()
        code = 1  # the reader closed the pipe, as `head` does
    except (KeyboardInterrupt, typer.Abort):
        _silence_output()
        code = 128 + signal.SIGINT
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        code, line = _code_and_line(error)
        _silence_output()
        if line:
            print(f"{PROGRAM}: {line}", file=sys.stderr)
        if code == _DEFECT and os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exception(error)
    sys.exit(code or 0)  # type: ignore[arg-type]


def _code_and_line(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the line for an error."""
    if is_memory_error(error):
        return 2, "not enough memory; raise the limit (ulimit -v), or give a smaller report or --start and --end"
    if isinstance(error, TaxbreakError):
        return (_NO_OUTPUT if isinstance(error, OutputError) else 2), str(error)
    if isinstance(error, CallError):
        return int(error.exit_code), call_error_line(error) if error.format_message() else ""
    if isinstance(error, OSError):
        if error.filename is None and error.errno in _OUTPUT_ERRORS:
            return _NO_OUTPUT, f"standard output: {error.strerror}; nothing more could be written"
        if error.filename is not None and error.errno is not None:
            return 2, str(TaxbreakError(f"{_name(error.filename)}: {error.strerror}"))
    message = str(TaxbreakError(f"{type(error).__name__}: {error}"))[:300]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "taxbreak_nsys" in frame.filename]
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return (
        _DEFECT,
        f"{message}{place}; this is a defect of {PROGRAM}, please report it ({TRACEBACK_VARIABLE}=1 shows more)",
    )


def _name(filename: object) -> str:
    text = os.fsdecode(filename) if isinstance(filename, (str, bytes)) else str(filename)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _open_standard_streams() -> None:
    """Open /dev/null for each of the file descriptors 0 to 2 that the caller has closed.

    Otherwise the next opened file would get the descriptor, and messages could be written into a report.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _stop_at_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so that temporary files are removed."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, stop)


def _silence_output() -> None:
    """Redirect standard output to /dev/null, so that the interpreter writes no buffered output at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
