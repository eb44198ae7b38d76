"""Limits on a report: beyond them, sums would overflow 64 bits or the analysis would take too long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.launches import TSys
from taxbreak_nsys.phases import Instances

MOST_THREADS = 512
"""The most launching threads; with the bound on times in `read.column_checks`, sums over them fit 64 bits."""
MOST_ENTRIES = 1000
"""The most phase entries (label and thread); the work grows with their number."""
_LARGEST_NS = 2**62


def check_threads(launching: Sequence[int], path: Path) -> None:
    """Raise TaxbreakError where more than MOST_THREADS threads launch work."""
    if len(launching) > MOST_THREADS:
        raise TaxbreakError(
            f"{path}: {len(launching)} threads launch device work; more than {MOST_THREADS} are not analysed"
        )


def check_entries(instances: Instances, path: Path) -> None:
    """Raise TaxbreakError for more than MOST_ENTRIES phases: the ranges then mark single requests, not phases."""
    pairs = np.unique(np.stack([instances.label, instances.thread]), axis=1).shape[1] if len(instances) else 0
    if pairs > MOST_ENTRIES:
        raise TaxbreakError(
            f"{path}: the outermost ranges make {pairs} phases, more than {MOST_ENTRIES}; choose some with "
            "--phase LABEL=REGEX"
        )


def check_t_sys(t_sys: TSys, launches: int, path: Path) -> None:
    """Raise TaxbreakError where T_sys times the launches (ns) does not fit 64 bits."""
    if t_sys.ns * launches >= _LARGEST_NS:
        raise TaxbreakError(
            f"{path}: T_sys of {t_sys.ns} ns for {launches} launches is longer than any run; check --t-sys"
        )
