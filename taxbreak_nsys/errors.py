"""The errors that users see, and a test for library errors that mean that memory ran out."""

from __future__ import annotations

_NO_MEMORY = (
    "out of memory", "cannot allocate memory", "can't start new thread", "failed to map segment",
    "bad_alloc", "malloc of size",
)  # fmt: skip
"""Parts of messages that SQLite, its driver, Arrow, the loader and Python give when memory runs out.

A new thread is among them because its stack needs memory."""

_LONGEST = 1000
"""The most characters of a message; names of phases and files in it may be arbitrarily long."""


class TaxbreakError(ValueError):
    """The input or the call is wrong; the message is one line and says what to do.

    The command line prints it and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """Take `message`: line breaks and control characters become spaces, the middle of a long message is cut."""
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        super().__init__(line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 3 :]}")


class OutputError(TaxbreakError):
    """Writing to stdout, a pipe or a device failed; the command line exits with code 74 (EX_IOERR of sysexits)."""


class NoSuchFileError(TaxbreakError, FileNotFoundError):
    """A report or another file that the call names does not exist."""


class NoCudaWorkError(TaxbreakError):
    """A report has no CUDA call, or no launch with device work."""


def is_memory_error(error: BaseException | None) -> bool:
    """Return whether an error, or an error in its chain of causes, says that memory ran out."""
    while error is not None:
        message = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in message for sign in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
