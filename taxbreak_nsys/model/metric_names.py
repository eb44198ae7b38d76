"""The metrics of a phase and their names: one vocabulary for tables, JSON, frames, gate rules, trends and stores.

A metric has a short name (`kernel_launches`), which gate rules, trends and results stores use, and a path in the
JSON object of a phase (`launches.kernel`), which is also the column of `Result.phases`. Rules and trends accept both.
A metric that is a sum over a phase's instances also exists per step, with the suffix `_per_step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taxbreak_nsys.model.name_rules import STATES

PER_STEP = "_per_step"


@dataclass(frozen=True)
class PhaseMetric:
    """One metric: `title` is its column in `taxbreak_sum`, or None; `summed` says that it is a sum over instances."""

    name: str
    path: str
    title: str | None
    summed: bool = True

    def value(self, phase: Mapping[str, Any]) -> float | None:
        """Return the metric of a phase's JSON object; None where it, or the object around it, is null or missing.

        A field is missing if the schema gained it after the object was written. Raises AttributeError where the
        object does not have the schema.
        """
        value: Any = phase
        for key in self.path.split("."):
            if value is None:
                return None
            value = value.get(key)
        return value


def _layers(*names: str) -> Iterator[PhaseMetric]:
    for name in names:
        yield PhaseMetric(f"{name}_ns", f"taxbreak.{name}_ns", f"{name} (ns)")


def _launches(*kinds: str) -> Iterator[PhaseMetric]:
    for kind in kinds:
        title = f"{kind.replace('_', ' ').title()} Launches"
        yield PhaseMetric(f"{kind}_launches", f"launches.{kind}", title)


METRICS = (
    PhaseMetric("hdbi", "taxbreak.hdbi", "HDBI", summed=False),
    PhaseMetric("exposed_share", "verdict.exposed_share", None, summed=False),
    PhaseMetric("instances", "instances", "Instances", summed=False),
    PhaseMetric("wall_ns", "wall_ns", "Wall (ns)"),
    PhaseMetric("wall_median_ns", "wall_median_ns", "Wall Med (ns)", summed=False),
    PhaseMetric("wall_p99_ns", "wall_p99_ns", None, summed=False),
    PhaseMetric("range_ns", "range_ns", None),
    PhaseMetric("comm_ns", "communication.comm_ns", None),
    PhaseMetric("comm_wait_ns", "communication.comm_wait_ns", None),
    PhaseMetric("kernels", "kernels", "Kernels"),
    *_launches("kernel", "graph", "memory", "unmeasured_graph"),
    *_layers("delta_ft", "delta_ct", "delta_kt"),
    PhaseMetric("launch_excess_ns", "taxbreak.launch_excess_ns", "Launch Excess (ns)"),
    PhaseMetric("t_orchestration_ns", "taxbreak.t_orchestration_ns", "T_Orchestration (ns)"),
    PhaseMetric("t_device_active_ns", "taxbreak.t_device_active_ns", None),
    PhaseMetric("device_active_ns", "device.active_ns", "Device Active (ns)"),
    PhaseMetric("device_kernel_sum_ns", "device.kernel_sum_ns", "Kernel Sum (ns)"),
    PhaseMetric("device_idle_ns", "device.idle_ns", "Device Idle (ns)"),
    PhaseMetric("device_busy_share", "device.busy_share", None, summed=False),
    *(PhaseMetric(f"{state}_ns", f"states_ns.{state}", f"{state} (ns)") for state in STATES),
    *(PhaseMetric(f"exposed_{state}_ns", f"exposed_ns.{state}", f"{state} Exposed (ns)") for state in STATES),
)
"""The metrics of a phase."""

BY_NAME = {name: metric for metric in METRICS for name in (metric.path, metric.name)}
"""Metrics by short name and by path."""
