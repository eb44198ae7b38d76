"""Whether two captures can be judged against each other: by the conditions that `diff` lists, from a report's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_COMMON = 0.6
"""Two captures count as the same model if kernels that both have make up at least this share of each device time.

Measured on this project's sample reports: at least 0.74 for one model (eager against compiled), at most 0.58 for two
different models.
"""


@dataclass(frozen=True)
class CaptureConditions:
    """Machine, profiler and tracing of a capture: its metrics depend on them. None where the source does not say.

    `kernels` maps (phase, kernel name) to the device time per step, ns.
    """

    gpu: str | None
    cpu: str | None
    nsys_version: str | None
    traced: tuple[str, ...] | None
    operator_ranges: bool | None
    library_ranges: bool | None
    kernels: Mapping[tuple[str, str], float]


def capture_conditions(data: Mapping[str, Any]) -> CaptureConditions:
    """Return the conditions of a capture from its JSON, or from the subset that a results store keeps."""
    report = data.get("report") or {}
    operators, traced = data.get("operators"), report.get("traced")
    phases = [phase for phase in data["phases"] if phase.get("thread") is not None or len(data["phases"]) == 1]
    evidences = {(phase.get("taxbreak") or {}).get("evidence") for phase in phases} - {None}
    steps: dict[str, int] = {}
    for phase in phases:
        steps[phase["phase"]] = steps.get(phase["phase"], 0) + (phase.get("instances") or 0)
    kernels: dict[tuple[str, str], float] = {}
    for row in data.get("kernels") or ():
        if row["device_ns"] and steps.get(row["phase"]):
            key = row["phase"], row["name"]
            kernels[key] = kernels.get(key, 0.0) + row["device_ns"] / steps[row["phase"]]
    return CaptureConditions(
        gpu=report.get("gpu"),
        cpu=report.get("cpu"),
        nsys_version=report.get("nsys_version"),
        traced=None if traced is None else tuple(sorted(traced)),
        operator_ranges=None if operators is None else bool(operators),
        library_ranges=any(str(name).startswith("ranges") for name in evidences) if evidences else None,
        kernels=kernels,
    )


def common_kernel_share(before: CaptureConditions, after: CaptureConditions) -> float | None:
    """Return the share of device time in kernels that both captures have: the smaller of the two captures' shares.

    Only phases that both captures have count. None if they have no phase with kernels in common.
    """
    phases = {phase for phase, _ in before.kernels} & {phase for phase, _ in after.kernels}
    shares = []
    for kernels, other_kernels in ((before.kernels, after.kernels), (after.kernels, before.kernels)):
        total = sum(ns for (phase, _), ns in kernels.items() if phase in phases)
        if not total:
            return None
        shares.append(sum(ns for key, ns in kernels.items() if key in other_kernels) / total)
    return min(shares)


def not_comparable(before: CaptureConditions, after: CaptureConditions) -> list[str]:
    """Return one sentence per reason why two captures cannot be judged against each other; empty if they can.

    A condition that a side does not state is not counted as a difference.
    """
    reasons = []
    for name, old, new in (
        ("GPU", before.gpu, after.gpu),
        ("CPU", before.cpu, after.cpu),
        ("nsys version", before.nsys_version, after.nsys_version),
        ("traced", _joined(before.traced), _joined(after.traced)),
        ("operator ranges", _traced(before.operator_ranges), _traced(after.operator_ranges)),
        ("library ranges", _traced(before.library_ranges), _traced(after.library_ranges)),
    ):
        if old is not None and new is not None and old != new:
            reasons.append(f"{name} {old} against {new}")
    common = common_kernel_share(before, after)
    if common is not None and common < LEAST_COMMON:
        reasons.append(f"different kernels: common kernels take {common:.0%} of the device time, as if of two models")
    return reasons


def _joined(traced: Sequence[str] | None) -> str | None:
    return None if traced is None else "+".join(traced) or "nothing"


def _traced(ranges: bool | None) -> str | None:
    return None if ranges is None else "traced" if ranges else "none"
