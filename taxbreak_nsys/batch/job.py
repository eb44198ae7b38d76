"""Messages between a batch and its workers: plain data that any transport can pickle."""

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
    """One report to analyse: absolute path or URL, tags, and the hashes of contents that the store already holds."""

    path: str
    tags: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settings:
    """Settings of a batch. `memory` and `unpacked` are limits in bytes, `timeout_s` in seconds; None for no limit.

    `options` is None for the defaults, so that the batch's own process need not import them. `isolate` starts a new
    process for every report, even if the previous one was clean.
    """

    options: Options | None = None
    timeout_s: float | None = None
    memory: int | None = None
    unpacked: int | None = None
    isolate: bool = False


@dataclass(frozen=True)
class Fork:
    """Request for a child process; the file descriptor of its pipe follows. The answer is its pid, 0 on failure."""

    settings: Settings
    folder: Path


@dataclass(frozen=True)
class End:
    """Request to kill a child and its descendants. The answer is its exit code, as in subprocess."""

    pid: int


@dataclass(frozen=True)
class Answer:
    """Sent with each outcome: whether the process takes another report, and whether the outcome is doubtful.

    A `doubtful` failure may be due to earlier reports in the same process: the report must be analysed again in a new
    process.
    """

    goes_on: bool
    doubtful: bool


def options_text(options: Options | None) -> str:
    """Return the non-default options as JSON, equal for equal options; `{}` for the defaults.

    A file among the options (such as the null report) is represented by its SHA-256.
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

    chosen = {name: value for name, value in plain(options).items() if value not in (None, [], {}, False)}
    return json.dumps(chosen, sort_keys=True, ensure_ascii=True, default=str)
