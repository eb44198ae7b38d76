"""Phase times measured without a profiler: the file given with `--reference` (method section 6)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.input_files import read_user_text

Times = Mapping[str, int]
"""Phase label to its median wall time, ns."""

_TIMES = ("median_ms", "tpot_ms")
"""Accepted keys: the median wall time of an instance, or an engine's time per output token (one token per step)."""

_FORM = 'as in {"decode": {"median_ms": 16.07}}'


def read_reference(choice: str) -> dict[str, Any]:
    """Return a reference file's phases, or its sets of phases by name; `FILE#NAME` chooses one set.

    Raises TaxbreakError if the file cannot be read, is not JSON or has no such set.
    """
    path, name = Path(choice), None
    if not path.exists() and "#" in choice:
        before, _, name = choice.rpartition("#")
        path = Path(before)
    try:
        data = json.loads(read_user_text(path))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); give --reference a file of times") from error
    except (ValueError, RecursionError) as error:
        raise TaxbreakError(f"{path}: not JSON ({error}); write the times of the phases {_FORM}") from error
    if isinstance(data, dict) and name is not None:
        data = data.get(name)
        if data is None:
            raise TaxbreakError(f"{path}: holds no set {name!r}; name one of the sets in the file")
    if not isinstance(data, dict):
        raise TaxbreakError(f"{path}: not an object of phases; write them {_FORM}")
    return data


def reference_times(choice: str, phases: set[str]) -> Times:
    """Return the median time of each phase of a report that the reference names, ns.

    A file may hold several named sets of phases; the set that names a phase of the report is used.
    Raises TaxbreakError if the file names no phase of the report, if several sets do, or if a time is not positive.
    """
    data = read_reference(choice)
    if not any(_is_entry(data.get(label)) for label in phases):
        sets = [name for name, inner in data.items() if isinstance(inner, dict) and phases & _entries(inner)]
        if len(sets) > 1:
            raise TaxbreakError(
                f"{choice}: holds several sets of times ({', '.join(sets)}); choose one with "
                f"--reference '{choice}#{sets[0]}'"
            )
        if not sets:
            raise TaxbreakError(
                f"{choice}: names no phase of the report ({', '.join(sorted(phases))}); name them {_FORM}"
            )
        data = data[sets[0]]
    return {label: _median_ns(choice, label, data[label]) for label in sorted(phases & _entries(data))}


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in _TIMES)


def _entries(data: Mapping[str, Any]) -> set[str]:
    return {label for label, value in data.items() if _is_entry(value)}


def _median_ns(choice: str, label: str, entry: Mapping[str, Any]) -> int:
    key = next(key for key in _TIMES if key in entry)
    median = entry[key]
    usable = isinstance(median, int | float) and not isinstance(median, bool) and math.isfinite(median)
    if not usable or round(median * 1e6) <= 0:
        raise TaxbreakError(f"{choice}: {key} of {label!r} is {median!r}; it must be a time of more than 0 ms")
    return round(median * 1e6)
