"""Whether two captures can be judged against each other: by the conditions that `diff` lists, from a report's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_COMMON = 0.6
"""Two captures run the same model where kernels of names that both have make up so much of each one's device time.

Measured on the reports of this project: 0.74 and more for one model, eager against compiled; at most 0.58 for two.
"""


@dataclass(frozen=True)
class CaptureConditions:
    """What a capture's figures depend on besides the program; None where the source does not say.

    `kernels` maps (phase, kernel name) to the device time per step, ns.
    """

    gpu: str | None
    cpu: str | None
    nsys_version: str | None
    traced: tuple[str, ...] | None
    operator_ranges: bool | None
    library_ranges: bool | None
    kernels: Mapping[tuple[str, str], float]


def conditions_of(data: Mapping[str, Any]) -> CaptureConditions:
    """Return the conditions of a capture from its JSON, or from the part of it that a results store holds."""
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
    """Return the device time in kernels that both captures have, as a share of the side that has less in common.

    Only phases that both have count. None where they have no phase with kernels in common.
    """
    phases = {phase for phase, _ in before.kernels} & {phase for phase, _ in after.kernels}
    shares = []
    for one, other in ((before.kernels, after.kernels), (after.kernels, before.kernels)):
        total = sum(ns for (phase, _), ns in one.items() if phase in phases)
        if not total:
            return None
        shares.append(sum(ns for key, ns in one.items() if key in other) / total)
    return min(shares)


def not_comparable(before: CaptureConditions, after: CaptureConditions) -> list[str]:
    """Return in words what keeps two captures from being judged against each other; empty where nothing does.

    A condition that one side does not say is no difference.
    """
    found = []
    for name, one, other in (
        ("GPU", before.gpu, after.gpu),
        ("CPU", before.cpu, after.cpu),
        ("nsys version", before.nsys_version, after.nsys_version),
        ("traced", _joined(before.traced), _joined(after.traced)),
        ("operator ranges", _traced(before.operator_ranges), _traced(after.operator_ranges)),
        ("library ranges", _traced(before.library_ranges), _traced(after.library_ranges)),
    ):
        if one is not None and other is not None and one != other:
            found.append(f"{name} {one} against {other}")
    common = common_kernel_share(before, after)
    if common is not None and common < LEAST_COMMON:
        found.append(f"other kernels: those in common take {common:.0%} of the device time, as of two models")
    return found


def _joined(traced: Sequence[str] | None) -> str | None:
    return None if traced is None else "+".join(traced) or "nothing"


def _traced(ranges: bool | None) -> str | None:
    return None if ranges is None else "traced" if ranges else "none"
