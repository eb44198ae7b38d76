"""How much of one thing a report may hold before its figures would overflow or take for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.launches import TSys
from taxbreak_nsys.phases import Instances

MOST_THREADS = 512
"""Launching threads; with `read.clean`'s bound on times, sums over them fit 64 bits."""
MOST_ENTRIES = 1000
"""Phases (label and thread); each is summed up over all events."""
_LARGEST_NS = 2**62


def check_threads(launching: Ints, path: Path) -> None:
    """Raise TaxbreakError where more threads launch work than any program has."""
    threads = len(np.unique(launching))
    if threads > MOST_THREADS:
        raise TaxbreakError(f"{path}: {threads} threads launch device work; more than {MOST_THREADS} are not analysed")


def check_entries(instances: Instances, path: Path) -> None:
    """Raise TaxbreakError where the ranges have so many texts that they mark requests rather than phases."""
    pairs = np.unique(np.stack([instances.label, instances.thread]), axis=1).shape[1] if len(instances) else 0
    if pairs > MOST_ENTRIES:
        raise TaxbreakError(
            f"{path}: the outermost ranges make {pairs} phases, more than {MOST_ENTRIES}; choose some with "
            "--phase LABEL=REGEX"
        )


def check_t_sys(t_sys: TSys, launches: int, path: Path) -> None:
    """Raise TaxbreakError where T_sys times the launches is more than 64 bits of nanoseconds hold."""
    if t_sys.ns * launches >= _LARGEST_NS:
        raise TaxbreakError(f"{path}: T_sys of {t_sys.ns} ns for {launches} launches is more than any run takes")
