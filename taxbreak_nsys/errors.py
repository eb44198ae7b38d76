"""The errors that users see, and which errors of libraries mean that memory ran out."""

from __future__ import annotations

_NO_MEMORY = (
    "out of memory", "cannot allocate memory", "can't start new thread", "failed to map segment",
    "bad_alloc", "malloc of size",
)  # fmt: skip
"""What SQLite, its driver, Arrow, the loader and Python say without memory; a thread needs some for its stack."""

_LONGEST = 1000
"""Characters of a message; a phase or file may have any name."""


class TaxbreakError(ValueError):
    """Something about the input or the call is wrong; the message is one line and says what to do.

    The command line prints it and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """Keep `message`, with line breaks and control characters folded into spaces; long names lose their middle."""
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        super().__init__(line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 3 :]}")


class OutputError(TaxbreakError):
    """Standard output, a pipe or a device takes no more; the command line exits with code 74 (sysexits' EX_IOERR)."""


class NoSuchFileError(TaxbreakError, FileNotFoundError):
    """A report or another file that the call names does not exist."""


class NoCudaWorkError(TaxbreakError):
    """A report holds no CUDA call, or no launch with device work."""


def is_memory_error(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, says that memory ran out."""
    while error is not None:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in said for sign in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
