"""The first look at a report: what it is, how it is laid out, what its hash is. Needs neither numpy nor Arrow.

The command line begins it in threads of their own, so that the libraries of the analysis load meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.arrays.background import BackgroundTask
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.file_hash import sha256, stamp
from taxbreak_nsys.read.input_files import note_input
from taxbreak_nsys.read.nsys_export import as_export, is_arrow_folder
from taxbreak_nsys.read.schema import Layout, inspect_layout


@dataclass(frozen=True)
class Inspected:
    """A report that was found to be one: the file to read, its name for messages, its layout.

    `stamp` tells whether it has changed since.
    """

    path: Path
    shown: str
    stamp: tuple[int, int]
    layout: Layout


class Opening:
    """A report that is being inspected and hashed while the program goes on."""

    def __init__(self, report: Path) -> None:
        """Begin with a `.sqlite` or a `.nsys-rep`, which is exported first."""
        self._file = BackgroundTask(lambda: checked(report))
        self._inspected = BackgroundTask(lambda: inspected(*self._file.result()))
        self._sha256 = BackgroundTask(lambda: self._hashed(report))

    def _hashed(self, report: Path) -> str:
        self._file.result()  # what is no regular file might never end
        return sha256(report)

    def inspected(self) -> Inspected:
        """Return what the report was found to be; raises TaxbreakError where it is no use."""
        return self._inspected.result()

    def sha256(self) -> str:
        """Return the hash of the file that the user named."""
        return self._sha256.result()


def inspect(report: Path, *, sqlite: bool = False) -> Inspected:
    """Inspect a report here and now (`sqlite`: its SQLite file); raises TaxbreakError where it cannot be read."""
    return inspected(*checked(report, sqlite=sqlite))


def checked(report: Path, *, sqlite: bool = False) -> tuple[Path, str]:
    """Return the file or folder of tables of a report and its name for messages, once it is known to be readable.

    An export beside a `.nsys-rep` is known to the user, one in the cache is not.
    """
    if is_arrow_folder(report):
        if sqlite:
            raise TaxbreakError(f"{report}: is a folder of tables; give the .nsys-rep, or its .sqlite export")
        return report, str(report)
    file = as_export(report, sqlite=sqlite)
    shown = str(file if file.parent == report.parent else report)
    if not is_arrow_folder(file):
        file_safety.check_file(file, shown)
    note_input(report)
    note_input(file)
    return file, shown


def inspected(file: Path, shown: str) -> Inspected:
    """Return what a checked file holds; raises TaxbreakError where that is no report, or damaged."""
    found = stamp(file)
    if file.is_dir():
        from taxbreak_nsys.read.arrow_folder import ArrowFolder

        return Inspected(file, shown, found, ArrowFolder(file, shown).layout())
    try:
        with (
            closing(file_safety.connect(file)) as connection,
            file_safety.time_limit(connection, file_safety.allowed_seconds(file)),
        ):
            return Inspected(file, shown, found, inspect_layout(connection, shown, found[0]))
    except (sqlite3.Error, UnicodeError) as error:
        raise file_safety.broken(shown, error) from error
