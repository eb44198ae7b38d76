"""Counts the private data in a report by kind and table, without returning the texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.read.database import open_report


@dataclass(frozen=True)
class ScrubFinding:
    """One kind of private data, the table that holds it, and the number of rows."""

    what: str
    place: str
    rows: int

    def __str__(self) -> str:
        return f"{self.what}: {self.rows} rows of {self.place}"


def gives_away(path: Path) -> list[ScrubFinding]:
    """Return the private data that a report holds; raises TaxbreakError where it is no report.

    Names of kernels and ranges are not included: the analysis needs them, and `scrub --names` replaces them.
    """
    with open_report(path) as database:
        rows = database.query("gives_away").to_pylist()
    return [ScrubFinding(str(row["what"]), str(row["place"]), int(row["found"])) for row in rows if row["found"]]
