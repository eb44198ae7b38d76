"""A text for the work in progress, for the status line that a terminal shows during slow steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_texts: list[str] = []


@contextmanager
def working(text: str) -> Iterator[None]:
    """Make `text` the current work while the block runs, such as `exporting run.nsys-rep`."""
    _texts.append(text)
    try:
        yield
    finally:
        _texts.remove(text)


def current_work() -> str | None:
    """Return the text of the most recently begun work that is not finished; None without any."""
    return _texts[-1] if _texts else None
