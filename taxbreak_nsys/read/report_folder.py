"""The reports of one side of a comparison: a report, or a folder of repeats or ranks."""

from __future__ import annotations

from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.nsys_export import is_arrow_folder

REPORT_SUFFIXES = (".sqlite", ".nsys-rep")


def side_reports(side: Path) -> list[Path]:
    """Return `[side]` for a report, or the reports in a folder, sorted by name.

    Raises TaxbreakError where the folder holds no report.
    """
    if not side.is_dir() or is_arrow_folder(side):
        return [side]
    files = sorted(path for path in side.iterdir() if path.suffix in REPORT_SUFFIXES)
    # A .nsys-rep with its .sqlite export beside it is one report, not two.
    reports = [path for path in files if path.suffix == ".sqlite" or path.with_suffix(".sqlite") not in files]
    if not reports:
        raise TaxbreakError(f"{side}: the folder holds no .sqlite export and no .nsys-rep")
    return reports
