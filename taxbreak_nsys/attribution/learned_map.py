"""A map of the kernels that CUDA libraries launch: learned from a report with call chains, used for reports without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.library_launches import REASONS, launch_kernel_names, library_signs
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.input_files import read_user_text
from taxbreak_nsys.totals.warning_facts import Piece

SCHEMA = "taxbreak-library-map/1"


class MapLearner:
    """Counts by kernel name all launches and the launches that a library made, over the pieces of a report.

    The call chain of a launch decides; without a chain, a library range around it. Launches with neither, or with a
    chain that is truncated before the caller, are left out.
    """

    def __init__(self, instances: Instances) -> None:
        """`instances` are not used: launches outside the phases count as well."""
        self._counts = GroupSums("launches", "mediated")
        self._names: tuple[str, ...] = ()

    def add(self, piece: Piece) -> None:
        """Count the launches of a piece."""
        columns = piece.columns
        trace, launches = columns.trace, columns.launches
        chain = library_signs(trace, launches, columns.chains, {}).chain
        chain = np.where((chain < 0) & (columns.mediation.reason == REASONS.index("library_range")), 1, chain)
        name = launch_kernel_names(trace, launches)
        known = np.flatnonzero((chain >= 0) & (name >= 0) & piece.own)
        self._counts.add(name[known], launches=1, mediated=chain[known])
        self._names = trace.ops.names

    def learned(self) -> dict[str, Any]:
        """Return the map as JSON data: for each kernel name the flag `library_mediated` and the counts behind it.

        A kernel counts as library-mediated if a library made more than half of its launches.
        """
        kernels = {
            self._names[code]: {
                "library_mediated": row["mediated"] * 2 > row["launches"],
                "launches": row["launches"],
                "library_mediated_launches": row["mediated"],
            }
            for code, row in self._counts.table().items()
        }
        return {"schema": SCHEMA, "kernels": dict(sorted(kernels.items()))}


def read_map(path: Path | None) -> Mapping[str, bool]:
    """Return a map of `MapLearner`: kernel name to library-mediated. Raises TaxbreakError for any other file."""
    if path is None:
        return {}
    try:
        data = json.loads(read_user_text(path))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); give --library-map a file") from error
    except (ValueError, RecursionError) as error:
        raise TaxbreakError(f"{path}: not JSON ({error}); make one with 'taxbreak-nsys library-map'") from error
    kernels = data.get("kernels") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
    if not isinstance(kernels, dict):
        raise TaxbreakError(f"{path}: not a library map ({SCHEMA}); make one with 'taxbreak-nsys library-map'")
    known = {name: entry.get("library_mediated") for name, entry in kernels.items() if isinstance(entry, dict)}
    if len(known) < len(kernels) or not all(isinstance(value, bool) for value in known.values()):
        raise TaxbreakError(f"{path}: an entry lacks library_mediated; make the map again")
    return {name: bool(value) for name, value in known.items()}
