"""Analyses one report of a batch; runs in a worker process."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from taxbreak_nsys.batch.fetch import fetched, unpacked
from taxbreak_nsys.batch.job import Job, Settings
from taxbreak_nsys.errors import NoSuchFileError, TaxbreakError, is_memory_error
from taxbreak_nsys.store.records import Analysed, Failed, Outcome, Unchanged

Stamp = tuple[int, int, int, int]


def examine(job: Job, settings: Settings, folder: Path) -> Outcome:
    """Analyse a report unless its content is known; every error becomes a `Failed` outcome, never an exception.

    `folder` receives fetched, unpacked and exported files; the caller removes it.
    """
    began = time.monotonic()
    os.environ["TMPDIR"] = os.environ["TAXBREAK_CACHE_DIR"] = str(folder)  # for the export of a .nsys-rep
    digest: list[str] = []
    try:
        return _examine(job, settings, folder, digest, began)
    except TaxbreakError as error:
        kind = "memory" if is_memory_error(error) else "refused" if digest else "unreadable"
        message = _memory_message(job.path, settings) if kind == "memory" else _as_named(str(error), job.path, folder)
    except _ChangedError:
        kind, message = "changed", f"{job.path}: changed while it was read; run the batch again when it is complete"
    except MemoryError:
        kind, message = "memory", _memory_message(job.path, settings)
    except Exception as error:  # a defect must not affect the other reports
        if is_memory_error(error):
            kind, message = "memory", _memory_message(job.path, settings)
        else:
            message = (
                f"{job.path}: {type(error).__name__}: {error}; this is a defect of taxbreak-nsys, please report it"
            )
            kind, message = "defect", str(TaxbreakError(message))
    return Failed(
        path=job.path,
        kind=kind,
        message=message,
        sha256=digest[0] if digest else None,
        milliseconds=_milliseconds_since(began),
    )


def _examine(job: Job, settings: Settings, folder: Path, digest: list[str], began: float) -> Outcome:
    from taxbreak_nsys.pipeline.analysis import analyze_report
    from taxbreak_nsys.read.file_hash import sha256

    file = fetched(job.path, folder)
    before = _stamp(file, job.path)
    content = sha256(file)
    digest.append(content)
    if content in job.known:
        return Unchanged(job.path, job.tags, content)
    plain = unpacked(file, folder, settings.unpacked)
    try:
        result = analyze_report(plain, settings.options, hashed=plain == file)
    except TaxbreakError as error:
        # A file that is still being written looks damaged.
        if _stamp(file, job.path) != before:
            raise _ChangedError from error
        raise
    if _stamp(file, job.path) != before or (plain == file and result.report.sha256 != content):
        raise _ChangedError
    named = replace(result, report=replace(result.report, path=job.path, sha256=content))
    return Analysed(
        path=job.path,
        tags=job.tags,
        sha256=content,
        size=before[0],
        result=named.to_dict(),
        milliseconds=_milliseconds_since(began),
    )


class _ChangedError(Exception):
    """The file changed during its analysis."""


def _stamp(file: Path, shown: str) -> Stamp:
    try:
        status = file.stat()
    except FileNotFoundError as error:
        raise NoSuchFileError(f"{shown}: no such file") from error
    except OSError as error:
        raise TaxbreakError(f"{shown}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def _as_named(message: str, path: str, folder: Path) -> str:
    """Return a message with the name of the temporary copy replaced by the user's name for the report."""
    if not message.startswith(str(folder)):
        return message
    name, colon, rest = message.partition(": ")
    return f"{path}: {rest}" if colon else message.replace(name, path)


def _memory_message(path: str, settings: Settings) -> str:
    limit = f" than its limit of {settings.memory} bytes" if settings.memory is not None else " than there is"
    return f"{path}: needs more memory{limit}; give more with --memory, and fewer --jobs"


def _milliseconds_since(began: float) -> int:
    return round(1000 * (time.monotonic() - began))
