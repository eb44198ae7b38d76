"""Inspects a report before it is read: file type, schema, row counts, identity. Imports neither numpy nor Arrow.

The command line runs the inspection in background threads while it imports numpy and Arrow.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.arrays.background import BackgroundTask
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.file_hash import fingerprint, sha256, stamp
from taxbreak_nsys.read.input_files import note_input
from taxbreak_nsys.read.nsys_export import as_export, is_arrow_folder
from taxbreak_nsys.read.schema import Layout, inspect_layout


@dataclass(frozen=True)
class Inspected:
    """A readable report: the file or folder to read, its name for messages (`shown`), its layout.

    `stamp` (see `file_hash.stamp`) shows later whether the file changed.
    """

    path: Path
    shown: str
    stamp: tuple[int, int]
    layout: Layout


class Opening:
    """A report that is inspected in a background thread, and hashed in another one if that is asked for."""

    def __init__(self, report: Path, *, hashed: bool = False) -> None:
        """Start inspecting a report; a `.nsys-rep` is exported first. `hashed` asks for its SHA-256."""
        self._report = report
        self._file = BackgroundTask(lambda: checked(report))
        self._inspected = BackgroundTask(lambda: inspected(*self._file.result()))
        self._sha256 = BackgroundTask(lambda: self._hashed(report)) if hashed else None

    def _hashed(self, report: Path) -> str:
        self._file.result()  # hash only checked files: a pipe or a device might never end
        return sha256(report)

    def inspected(self) -> Inspected:
        """Return the finished inspection, waiting for it; raises TaxbreakError where the report cannot be read."""
        return self._inspected.result()

    def identity(self) -> tuple[str, str | None]:
        """Return the fingerprint and the SHA-256 (None: not asked for) of the file that the user named."""
        return fingerprint(self._report), self._sha256.result() if self._sha256 is not None else None


def inspect(report: Path, *, sqlite: bool = False) -> Inspected:
    """Inspect a report in this thread; with `sqlite`, a `.nsys-rep` is exported to SQLite and a folder is refused.

    Raises TaxbreakError where the report cannot be read.
    """
    return inspected(*checked(report, sqlite=sqlite))


def checked(report: Path, *, sqlite: bool = False) -> tuple[Path, str]:
    """Return the file or folder that holds the tables of a report, and its name for messages.

    Messages name an export beside its `.nsys-rep`, but not an export in the cache, which the user does not know.
    Raises TaxbreakError where the report is not readable.
    """
    if is_arrow_folder(report):
        if sqlite:
            raise TaxbreakError(f"{report}: is a folder of tables; give the .nsys-rep, or its .sqlite export")
        for table in file_safety.check_folder(report, str(report)):
            note_input(table)
        return report, str(report)
    file = as_export(report, sqlite=sqlite)
    shown = str(file if file.parent == report.parent else report)
    if not is_arrow_folder(file):
        file_safety.check_file(file, shown)
    note_input(report)
    note_input(file)
    return file, shown


def inspected(file: Path, shown: str) -> Inspected:
    """Return the inspection of a checked file; raises TaxbreakError where it is damaged or no report."""
    first_stamp = stamp(file)
    if file.is_dir():
        from taxbreak_nsys.read.arrow_folder import ArrowFolder

        return Inspected(file, shown, first_stamp, ArrowFolder(file, shown).layout())
    try:
        with (
            closing(file_safety.connect(file)) as connection,
            file_safety.time_limit(connection, file_safety.allowed_seconds(file)),
        ):
            return Inspected(file, shown, first_stamp, inspect_layout(connection, shown, first_stamp[0]))
    except (sqlite3.Error, UnicodeError) as error:
        raise file_safety.broken(shown, error) from error
