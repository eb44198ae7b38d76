"""Facts about a report (file, versions, machine) and the warnings about its result: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportWarning:
    """A limitation of the result: a stable `code`, a `message` for the user, and the `remedy`."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class ReportFacts:
    """The report's file, versions and machine, and the kinds of events that nsys traced.

    `fingerprint` identifies the file cheaply (`read.file_hash`); `sha256` is None unless the caller asked for it.
    `captured_utc_ns` is the start of the session in ns since 1970 (UTC).
    """

    path: str
    fingerprint: str
    sha256: str | None
    nsys_version: str | None
    schema_version: str | None
    gpu: str | None
    cpu: str | None
    driver: str | None
    host: str | None
    captured_utc_ns: int | None
    traced: tuple[str, ...]
    warnings: tuple[ReportWarning, ...] = ()
