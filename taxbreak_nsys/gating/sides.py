"""One side of a gate: the metrics of one or several reports, their single steps, and their capture settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from taxbreak_nsys.comparison.conditions import capture_settings, stretches_host
from taxbreak_nsys.comparison.sample_changes import PhaseSamples, phase_samples
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.gating.metrics import PhaseMetrics, baseline_reports, metrics_of_phases, phase_metrics
from taxbreak_nsys.result import Result, json_head

STEPS = "steps"
"""The key under which a baseline file holds the single steps, beside the reports of `-f json`."""


@dataclass(frozen=True)
class GateSide:
    """Metrics by phase; the samples by phase and the capture settings are empty if the source does not have them."""

    metrics: dict[str, PhaseMetrics]
    samples: dict[str, PhaseSamples] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] | None = None
    """The JSON object of the side's first report: its machine, tracing and kernels decide if sides are comparable."""

    def settings_that_stretch(self, other: GateSide) -> list[str]:
        """Return the names of the settings that differ between the sides and that change how fast the host runs."""
        return [
            name for name, value in self.settings.items() if stretches_host(name) and other.settings.get(name) != value
        ]


def side_of_results(results: Sequence[Result]) -> GateSide:
    """Return the side of one report, or of several repeats or ranks: each metric is the median over the reports."""
    return GateSide(
        metrics=median_metrics([phase_metrics(result) for result in results]),
        samples=phase_samples(results),
        settings=capture_settings(results),
        report=results[0].to_dict(),
    )


def median_metrics(reports: Sequence[Mapping[str, PhaseMetrics]]) -> dict[str, PhaseMetrics]:
    """Return the lower median of each metric, for phases in all reports; None if a report did not measure it."""
    common = [label for label in reports[0] if all(label in report for report in reports)]
    return {label: _median([report[label] for report in reports]) for label in common}


def _median(phases: Sequence[PhaseMetrics]) -> PhaseMetrics:
    values: dict[str, float | None] = {}
    for name in phases[0].values:
        measured = [value for value in (phase.values.get(name) for phase in phases) if value is not None]
        values[name] = sorted(measured)[(len(measured) - 1) // 2] if len(measured) == len(phases) else None
    return PhaseMetrics(values, next((p.reason for p in phases if p.values.get("hdbi") is None), phases[0].reason))


def baseline_text(results: Sequence[Result]) -> str:
    """Return the JSON of a baseline: the document of `-f json` with the single steps and settings of the side."""
    side = side_of_results(results)
    steps = {
        "settings": side.settings,
        "phases": {
            label: {
                "evidences": sorted(samples.evidences),
                "graph_traces": sorted(samples.graph_traces),
                "values": {name: [_number(value) for value in column] for name, column in samples.values.items()},
            }
            for label, samples in side.samples.items()
        },
    }
    reports = [{k: v for k, v in result.to_dict().items() if k not in json_head()} for result in results]
    return json.dumps(json_head() | {"reports": reports, STEPS: steps}, ensure_ascii=False) + "\n"


def read_baseline_side(path: Path) -> GateSide:
    """Return the side that a JSON file holds; raises TaxbreakError where it cannot be read."""
    data = baseline_reports(path)
    metrics = median_metrics([metrics_of_phases(report, path) for report in data["reports"]])
    steps: Any = data.get(STEPS)
    first = data["reports"][0]
    if steps is None:
        return GateSide(metrics, report=first)
    try:
        samples = {
            label: PhaseSamples(
                label,
                {name: np.array(column, np.float64) for name, column in phase["values"].items()},
                frozenset(phase["evidences"]),
                frozenset(phase.get("graph_traces", ())),
            )
            for label, phase in steps["phases"].items()
        }
        settings = {str(name): str(value) for name, value in steps["settings"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TaxbreakError(f"{path}: the baseline's single steps cannot be read; write it again with "
                            "--update-baseline") from error  # fmt: skip
    return GateSide(metrics, samples, settings, first)


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else float(value)
