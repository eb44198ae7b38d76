"""Where the figures of a result come from, and the warnings that limit them: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportWarning:
    """Something that limits what the figures say, and what would mend it."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class ReportFacts:
    """Where the figures come from: the file, the versions, the machine, what was traced.

    `captured_utc_ns` is the start of the session in ns since 1970 (UTC).
    """

    path: str
    sha256: str
    nsys_version: str | None
    schema_version: str | None
    gpu: str | None
    cpu: str | None
    driver: str | None
    host: str | None
    captured_utc_ns: int | None
    traced: tuple[str, ...]
    warnings: tuple[ReportWarning, ...] = ()
