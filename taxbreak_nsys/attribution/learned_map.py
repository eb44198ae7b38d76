"""Which kernels a library launches, learned from a report with call chains, for reports that have none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.library_launches import REASONS, launch_kernel_names, library_signs
from taxbreak_nsys.measure.measured import Measured

SCHEMA = "taxbreak-library-map/1"


def learn(columns: Measured) -> dict[str, Any]:
    """Return the map that a report gives: kernel name to whether a library launched it.

    A launch's call chain decides, else a library range around it; launches with neither, or whose chain breaks off
    before its caller, are left out. A kernel that both a library and the framework launched counts as the more frequent
    of the two. The map is empty if the report has neither chains nor library ranges.
    """
    trace, launches = columns.trace, columns.launches
    chain = library_signs(trace, launches, columns.chains, {}).chain
    chain = np.where((chain < 0) & (columns.mediation.reason == REASONS.index("library_range")), 1, chain)
    name = launch_kernel_names(trace, launches)
    kernels = {}
    known = (chain >= 0) & (name >= 0)
    for code in np.unique(name[known]).tolist():
        mine = known & (name == code)
        mediated, count = int(chain[mine].sum()), int(mine.sum())
        kernels[trace.ops.names[code]] = {
            "library_mediated": mediated * 2 > count,
            "launches": count,
            "library_mediated_launches": mediated,
        }
    return {"schema": SCHEMA, "kernels": dict(sorted(kernels.items()))}


def read_map(path: Path | None) -> Mapping[str, bool]:
    """Return a map that `learn` made, kernel name to library-mediated; raises TaxbreakError if the file is no map."""
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
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
