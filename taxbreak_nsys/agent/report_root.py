"""Restricts clients to the files below the folder that the server was started for."""

from __future__ import annotations

import os
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.nsys_export import SUFFIXES as CAPTURE_SUFFIXES
from taxbreak_nsys.read.nsys_export import is_arrow_folder

REPORT_SUFFIXES = (".sqlite", *CAPTURE_SUFFIXES)
MOST_FILES_SEEN = 20_000


class ReportRoot:
    """A folder whose files a client may name, by relative paths; raises TaxbreakError if it is not a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise TaxbreakError(f"{folder}: no such folder; --root names the folder that holds the reports")
        self.folder = folder.resolve()

    def file(self, text: str) -> Path:
        """Return the real path of a file; raises TaxbreakError if it is missing or outside the folder."""
        path = self._inside(text)
        if not path.is_file():
            raise TaxbreakError(f"{text!r}: no such file below the root; the tool 'reports' lists what is there")
        return path

    def report(self, text: str) -> Path:
        """Return the real path of a report, as `file` does; the export beside a capture must be inside the root too."""
        path = self._inside(text)
        if is_arrow_folder(path):
            for inner in path.iterdir():
                self._inside(str(inner))
            return path
        path = self.file(text)
        if path.suffix not in REPORT_SUFFIXES:
            raise TaxbreakError(f"{text!r}: not a report; a report ends in {' or '.join(REPORT_SUFFIXES)}")
        if path.suffix in CAPTURE_SUFFIXES:
            self._inside(str(path.with_suffix(".sqlite")))  # an analysis reads this export instead of the capture
        return path

    def report_or_folder(self, text: str) -> Path:
        """Return the real path of a report, or of a folder of reports; no symlink in it may lead out of the root."""
        path = self._inside(text)
        if not path.is_dir() or is_arrow_folder(path):
            return self.report(text)
        for inner in path.iterdir():
            if inner.suffix in REPORT_SUFFIXES:
                self._inside(str(inner))
        return path

    def listing(self, limit: int) -> tuple[list[dict[str, object]], bool]:
        """Return up to `limit` reports (path, size in bytes) sorted by folder and name, and True if these are all."""
        rows: list[dict[str, object]] = []
        seen = 0
        for folder, inner_folders, names in os.walk(self.folder):  # does not follow symlinks to folders
            inner_folders.sort()
            for name in sorted(names):
                seen += 1
                if seen > MOST_FILES_SEEN:
                    return rows, False
                path = Path(folder, name)
                if path.suffix not in REPORT_SUFFIXES or not self._is_inside(path):
                    continue
                if len(rows) == limit:
                    return rows, False
                rows.append({"report": str(path.relative_to(self.folder)), "bytes": path.stat().st_size})
        return rows, True

    def shown(self, text: str) -> str:
        """Return a text without the folder's own path: clients see and use relative paths."""
        return text.replace(f"{self.folder}{os.sep}", "").replace(str(self.folder), ".")

    def _inside(self, text: str) -> Path:
        if "\0" in text or not text:
            raise TaxbreakError(f"{text!r}: not a path")
        try:
            path = (self.folder / text).resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symlinks
            raise TaxbreakError(f"{text!r}: cannot be resolved") from error
        if not path.is_relative_to(self.folder):
            raise TaxbreakError(f"{text!r}: lies outside the root; name a file below it, by a relative path")
        return path

    def _is_inside(self, path: Path) -> bool:
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            return False
        return real.is_relative_to(self.folder) and real.is_file()
