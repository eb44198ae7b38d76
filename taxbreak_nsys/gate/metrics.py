"""The figures that rules can name: those of the JSON of a report, flat, with their shares of a step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.result import SCHEMA, Result

_WHOLE = ("wall_median_ns", "instances")
"""Figures that are not sums over instances."""
_LAYERS = (
    "delta_ft_ns", "delta_ct_ns", "delta_kt_ns", "launch_excess_ns", "t_orchestration_ns", "t_device_active_ns",
)  # fmt: skip


@dataclass(frozen=True)
class PhaseFigures:
    """One phase's figures by name; None where one is not measured, for the `reason`."""

    values: dict[str, float | None]
    reason: str


def phase_metrics(result: Result) -> dict[str, PhaseFigures]:
    """Return the figures of each phase label of a result."""
    return _figures(result.to_dict())


def read_baseline(path: Path) -> dict[str, PhaseFigures]:
    """Return the figures of what `taxbreak-nsys REPORT -f json` wrote; raises TaxbreakError for other files."""
    return metrics_of_json(baseline_data(path), path)


def metrics_of_json(data: Mapping[str, Any], path: Path) -> dict[str, PhaseFigures]:
    """Return the figures of each phase label of a report's JSON, which came from `path`."""
    try:
        return _figures(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise TaxbreakError(f"{path}: the baseline lacks figures of schema {SCHEMA} ({error})") from error


def baseline_data(path: Path) -> dict[str, Any]:
    """Return what `taxbreak-nsys REPORT -f json` wrote; raises TaxbreakError for other files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaxbreakError(f"{path}: the baseline cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise TaxbreakError(
            f"{path}: the baseline is not one JSON object; write one with 'taxbreak-nsys REPORT -f json -o {path.name}'"
        ) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("phases"), list):
        raise TaxbreakError(
            f"{path}: the baseline is not of schema {SCHEMA}; write one with 'taxbreak-nsys REPORT -f json'"
        )
    return data


def is_store(source: str) -> bool:
    """Tell whether a baseline names a results store: a database URL, or a file `.db`; tags may follow a `#`."""
    place = source.partition("#")[0]
    return "://" in place or place.endswith(".db")


def store_baseline(source: str, but: str) -> dict[str, Any]:
    """Return the newest capture in a results store, of those that have the tags behind `#`, as a report's JSON.

    `source` is as in `taxbreak.db#model=llama,gpu=H100`; the report with the hash `but` is left out. Raises
    TaxbreakError where there is no such store or capture.
    """
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys, newest_capture

    place, _, wanted = source.partition("#")
    chosen = dict(pair.partition("=")[::2] for pair in wanted.split(",")) if wanted else {}
    if not all(chosen) or not all(chosen.values()):
        raise TaxbreakError(f"--baseline {source!r}: write STORE#KEY=VALUE[,KEY=VALUE]")
    with open_store(place) as store:
        check_keys(store, list(chosen), "--baseline")
        return newest_capture(store, chosen, but)


def _figures(data: Mapping[str, Any]) -> dict[str, PhaseFigures]:
    """Return the figures by label: a label of several threads has those of all of them."""
    found: dict[str, PhaseFigures] = {}
    for phase in data["phases"]:
        if phase["phase"] not in found or phase["thread"] is None:
            found[phase["phase"]] = _of_phase(phase)
    return found


def _of_phase(phase: Mapping[str, Any]) -> PhaseFigures:
    layers, exposed = phase["taxbreak"], phase["exposed_ns"]
    sums: dict[str, float | None] = {name: phase[name] for name in ("wall_ns", "kernels")}
    sums |= {name: layers[name] for name in _LAYERS}
    sums |= {f"{name}_launches": phase["launches"][name] for name in ("kernel", "graph", "memory", "unmeasured_graph")}
    sums |= {f"{state}_ns": phase["states_ns"][state] for state in STATES}
    sums |= {f"exposed_{state}_ns": exposed[state] if exposed else None for state in STATES}
    sums |= {f"device_{name}": phase["device"][name] for name in ("active_ns", "kernel_sum_ns", "idle_ns")}
    steps = phase["instances"]
    values = {name: phase[name] for name in _WHOLE} | sums
    values |= {
        f"{name}_per_step": None if value is None or not steps else value / steps for name, value in sums.items()
    }
    values["hdbi"] = layers["hdbi"]
    values["exposed_share"] = phase["verdict"]["exposed_share"]
    return PhaseFigures(values, layers.get("hdbi_reason") or "not measured in this report")
