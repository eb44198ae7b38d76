"""What goes to a worker and what comes back: plain data that every transport can carry."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taxbreak_nsys.options import Options


@dataclass(frozen=True)
class Job:
    """One report to analyse: its absolute path or URL, its tags, the hashes of contents that are done already."""

    path: str
    tags: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settings:
    """What holds for all reports of a batch; sizes in bytes, `timeout_s` in seconds, None for no limit.

    `options` is None for the defaults: the process that analyses nothing then needs none of the imports. `isolate`
    asks for a new process for every report, also after one that left no trace in its process.
    """

    options: Options | None = None
    timeout_s: float | None = None
    memory: int | None = None
    unpacked: int | None = None
    isolate: bool = False


@dataclass(frozen=True)
class Fork:
    """Asks for a child; its end of a pipe is sent next. Answered with its number, 0 where there is no room for it."""

    settings: Settings
    folder: Path


@dataclass(frozen=True)
class End:
    """Asks for the end of a child and of all that it started. Answered with its exit code, as subprocess has it."""

    pid: int


@dataclass(frozen=True)
class Answer:
    """What a child says beside an outcome: whether it goes on, and whether the outcome may be owed to its past.

    An outcome that is `doubtful` is not to be believed: the report has to be analysed by a new process.
    """

    goes_on: bool
    doubtful: bool


def options_text(options: Options | None) -> str:
    """Return the choices made of the analysis as JSON, the same text for the same choices; none are the defaults.

    A file that is part of them (the null report) counts by its content.
    """
    if options is None:
        return "{}"
    from taxbreak_nsys.model.user_pattern import UserPattern
    from taxbreak_nsys.read.file_hash import sha256

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return sha256(value)
        if isinstance(value, UserPattern):
            return value.pattern
        if dataclasses.is_dataclass(value):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, frozenset):
            return sorted(value)
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    made = {name: value for name, value in plain(options).items() if value not in (None, [], {}, False)}
    return json.dumps(made, sort_keys=True, ensure_ascii=True, default=str)
