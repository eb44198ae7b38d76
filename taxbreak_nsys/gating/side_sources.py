"""Where the two sides of a gate come from: reports, folders of them, baseline files, results stores."""

from __future__ import annotations

from pathlib import Path

from taxbreak_nsys.gating.metrics import is_store, metrics_of_phases, store_baseline
from taxbreak_nsys.gating.sides import GateSide, read_baseline_side, side_of_results
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.read.report_folder import REPORT_SUFFIXES, side_reports
from taxbreak_nsys.result import Result


def analyze_side(side: Path, options: Options) -> list[Result]:
    """Return the results of a report, or of the reports of a folder by name."""
    return [analyze_report(path, options) for path in side_reports(side)]


def load_baseline(source: str, options: Options, own_hash: str) -> GateSide:
    """Return a baseline: the newest other capture of a store, a report, a folder of them, or JSON of one.

    The capture with the hash `own_hash` is the report that is judged. Raises TaxbreakError where there is none.
    """
    if is_store(source):
        report = store_baseline(source, own_hash)
        return GateSide(metrics_of_phases(report, Path(source)), report=report)
    path = Path(source)
    if path.is_dir() or path.suffix in REPORT_SUFFIXES:
        return side_of_results(analyze_side(path, options))
    return read_baseline_side(path)
