"""Outcomes of the reports in a batch: plain data that workers send and the store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Analysed:
    """A report that was analysed; `result` is `Result.to_dict()`, `size` the file size in bytes."""

    path: str
    tags: dict[str, str]
    sha256: str
    size: int
    result: dict[str, Any]
    milliseconds: int


@dataclass(frozen=True)
class Unchanged:
    """A report whose content the store already holds."""

    path: str
    tags: dict[str, str]
    sha256: str


@dataclass(frozen=True)
class Failed:
    """A report whose analysis failed, with the reason.

    `kind` is `refused` (damaged or unsuitable), `unreadable`, `changed` (while it was read), `timeout`, `memory`,
    `killed`, or `defect` (of this program).
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
