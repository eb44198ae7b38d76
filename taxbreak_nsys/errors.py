"""The errors that users see."""

from __future__ import annotations


class TaxbreakError(ValueError):
    """Something about the input or the call is wrong; the message is one line and says what to do.

    The command line prints it and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """Keep `message`, with line breaks and control characters folded into spaces."""
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in message).split()))


class NoSuchFileError(TaxbreakError, FileNotFoundError):
    """A report or another file that the call names does not exist."""


class NoCudaWorkError(TaxbreakError):
    """A report holds no CUDA call, or no launch with device work."""
