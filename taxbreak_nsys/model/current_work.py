"""What the program is doing just now, for the line that a terminal shows while it takes long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_texts: list[str] = []


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say what is being done while the block runs: `exporting run.nsys-rep`."""
    _texts.append(text)
    try:
        yield
    finally:
        _texts.remove(text)


def current_work() -> str | None:
    """Return what was begun last and is not done; None where nothing is said."""
    return _texts[-1] if _texts else None
