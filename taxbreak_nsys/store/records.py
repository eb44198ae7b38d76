"""What became of one report of a batch: plain data that a worker sends and the store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Analysed:
    """A report that was analysed; `result` is what `Result.to_dict()` gives."""

    path: str
    tags: dict[str, str]
    sha256: str
    size: int
    result: dict[str, Any]
    milliseconds: int


@dataclass(frozen=True)
class Unchanged:
    """A report whose content is in the store already."""

    path: str
    tags: dict[str, str]
    sha256: str


@dataclass(frozen=True)
class Failed:
    """A report that could not be analysed, and why.

    `kind` is `refused` (the report), `unreadable`, `changed` (while it was read), `timeout`, `memory`, `killed`,
    or `defect` (of this program).
    """

    path: str
    kind: str
    message: str
    sha256: str | None = None
    milliseconds: int = 0


Outcome = Analysed | Unchanged | Failed


def is_url(path: str) -> bool:
    """Return whether a report's location is a URL, not a path of this machine."""
    return "://" in path
