"""Loads the two sides of a gate: reports, folders of reports, baseline files, results stores."""

from __future__ import annotations

from pathlib import Path

from taxbreak_nsys.gating.metrics import is_store, metrics_of_phases, store_baseline
from taxbreak_nsys.gating.sides import GateSide, read_baseline_side, side_of_results
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.read.file_hash import sha256
from taxbreak_nsys.read.report_folder import REPORT_SUFFIXES, side_reports
from taxbreak_nsys.result import Result


def analyze_side(side: Path, options: Options, *, hashed: bool = False) -> list[Result]:
    """Return the results of a report, or of all reports in a folder, sorted by name; `hashed` with their SHA-256."""
    return [analyze_report(path, options, hashed=hashed) for path in side_reports(side)]


def load_baseline(source: str, options: Options, own: ReportFacts) -> GateSide:
    """Return a baseline from a results store (its newest capture), a report, a folder of reports, or a JSON file.

    `own` is the report to judge: the store's capture of it is skipped. Raises TaxbreakError if the
    source holds no baseline.
    """
    if is_store(source):
        report = store_baseline(source, own.sha256 or sha256(Path(own.path)))
        return GateSide(metrics_of_phases(report, Path(source)), report=report)
    path = Path(source)
    if path.is_dir() or path.suffix in REPORT_SUFFIXES:
        return side_of_results(analyze_side(path, options))
    return read_baseline_side(path)
