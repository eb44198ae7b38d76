"""How the program ends: an exit code, and one line on standard error in place of a traceback.

0 is success, 1 what a command says with it (a gate that failed, a batch with failures), 2 a wrong call or input,
70 a defect of this program, 74 an output that cannot be written, 128 + N the signal N.
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
"""Set it to see the traceback of a defect."""

_OUTPUT_ERRORS = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT, errno.EAGAIN}
_DEFECT, _NO_OUTPUT = 70, 74


class _ClosedOutput(io.TextIOBase):
    """Stands for a standard output that the caller has closed: writing to it fails instead of doing nothing."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "is closed")


def run_to_exit(command: Callable[[], object]) -> NoReturn:
    """Run the command line, which returns an exit code or None, and end the process.

    Every error is one line on standard error.
    """
    _open_standard_streams()
    _stop_at_signals()
    code: object = 0
    try:
        try:
            with kept_inputs():
                code = command()
        except SystemExit as ended:
            code = ended.code
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_output()
        code = 1  # the reader of our output went away: it has seen enough
    except (KeyboardInterrupt, typer.Abort):
        _silence_output()
        code = 128 + signal.SIGINT
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        code, line = _judged(error)
        _silence_output()
        if line:
            print(f"{PROGRAM}: {line}", file=sys.stderr)
        if code == _DEFECT and os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exception(error)
    sys.exit(code or 0)  # type: ignore[arg-type]


def _judged(error: BaseException) -> tuple[int, str]:
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
    said = str(TaxbreakError(f"{type(error).__name__}: {error}"))[:300]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "taxbreak_nsys" in frame.filename]
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return (
        _DEFECT,
        f"{said}{place}; this is a defect of {PROGRAM}, please report it ({TRACEBACK_VARIABLE}=1 shows more)",
    )


def _name(filename: object) -> str:
    text = os.fsdecode(filename) if isinstance(filename, (str, bytes)) else str(filename)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _open_standard_streams() -> None:
    """Give the numbers 0 to 2 to something harmless where the caller has closed them.

    Python has None for a closed stream, and the next file that is opened would get its number: a report could be
    written into.
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
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, so that temporary files are removed."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, stop)


def _silence_output() -> None:
    """Keep the interpreter from writing what is left of the output at its exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
