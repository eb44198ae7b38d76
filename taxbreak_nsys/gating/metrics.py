"""The metrics that rules can name: by short name or JSON path, as totals and per step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.metric_names import METRICS, PER_STEP
from taxbreak_nsys.read.input_files import read_user_text
from taxbreak_nsys.result import SCHEMA, Result


@dataclass(frozen=True)
class PhaseMetrics:
    """One phase's metrics by name; None for a metric that is not measured, and `reason` says why."""

    values: dict[str, float | None]
    reason: str


def phase_metrics(result: Result) -> dict[str, PhaseMetrics]:
    """Return the metrics of each phase label of a result."""
    return _by_label(result.to_dict()["phases"])


def baseline_reports(path: Path) -> dict[str, Any]:
    """Return the JSON of a baseline (`-f json`, `-f jsonl` or `--update-baseline`), its reports under `reports`.

    Raises TaxbreakError if the file cannot be read or is not such JSON.
    """
    remedy = f"write one with 'taxbreak-nsys gate REPORT --baseline {path.name} --update-baseline'"
    try:
        data = json.loads(read_user_text(path))
    except OSError as error:
        raise TaxbreakError(f"{path}: the baseline cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise TaxbreakError(f"{path}: the baseline is not one JSON object; {remedy}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise TaxbreakError(f"{path}: the baseline is not of schema {SCHEMA}; {remedy}")
    reports = data.get("reports", [data])
    if not isinstance(reports, list) or not reports or not all(isinstance(report, dict) for report in reports):
        raise TaxbreakError(f"{path}: the baseline holds no report; {remedy}")
    return data | {"reports": reports}


def metrics_of_phases(report: Mapping[str, Any], path: Path) -> dict[str, PhaseMetrics]:
    """Return the metrics of a report's JSON object, read from `path`; raises TaxbreakError where it lacks some."""
    try:
        return _by_label(report["phases"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TaxbreakError(
            f"{path}: the baseline lacks metrics of schema {SCHEMA} ({error}); write it again with --update-baseline"
        ) from error


def is_store(source: str) -> bool:
    """Return True if a baseline names a results store: a database URL or a `.db` file, with tags after a `#`."""
    place = source.partition("#")[0]
    return "://" in place or place.endswith(".db")


def store_baseline(source: str, own_hash: str) -> dict[str, Any]:
    """Return the newest capture in a results store that has the tags after the `#`, as the JSON object of a report.

    `source` has the form `taxbreak.db#model=llama,gpu=H100`. The report with the hash `own_hash` is skipped. Raises
    TaxbreakError if there is no such store or capture.
    """
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys, newest_capture

    place, _, wanted = source.partition("#")
    chosen = dict(pair.partition("=")[::2] for pair in wanted.split(",")) if wanted else {}
    if not all(chosen) or not all(chosen.values()):
        raise TaxbreakError(f"--baseline {source!r}: write STORE#KEY=VALUE[,KEY=VALUE]")
    with open_store(place) as store:
        check_keys(store, list(chosen), "--baseline")
        return newest_capture(store, chosen, own_hash)


def _by_label(phases: Sequence[Mapping[str, Any]]) -> dict[str, PhaseMetrics]:
    """Return the metrics by label; for a label on several threads, the metrics of all its threads together."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for phase in phases:
        if phase["phase"] not in chosen or phase["thread"] is None:
            chosen[phase["phase"]] = phase
    return {label: _metrics_by_name(phase) for label, phase in chosen.items()}


def _metrics_by_name(phase: Mapping[str, Any]) -> PhaseMetrics:
    values: dict[str, float | None] = {}
    steps = phase["instances"]
    for metric in METRICS:
        value = metric.value(phase)
        per_step = None if value is None or not steps else value / steps
        for name in (metric.name, metric.path):
            values[name] = value
            if metric.summed:
                values[name + PER_STEP] = per_step
    return PhaseMetrics(values, phase["taxbreak"].get("hdbi_reason") or "not measured in this report")
