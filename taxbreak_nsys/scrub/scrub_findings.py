"""What a report gives away: counts by kind and place, never the texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.read.database import open_report


@dataclass(frozen=True)
class ScrubFinding:
    """One kind of thing that a report says beyond its measurements, and where."""

    what: str
    place: str
    rows: int

    def __str__(self) -> str:
        """Return the finding as a line."""
        return f"{self.what}: {self.rows} rows of {self.place}"


def gives_away(path: Path) -> list[ScrubFinding]:
    """Return what a report holds that its owner may not want to post; raises TaxbreakError where it is no report.

    Names of kernels and ranges are not among it: they are what an analysis is about (`scrub --names`).
    """
    with open_report(path) as database:
        rows = database.query("gives_away").to_pylist()
    return [ScrubFinding(str(row["what"]), str(row["place"]), int(row["found"])) for row in rows if row["found"]]
