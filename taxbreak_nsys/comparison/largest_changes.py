"""Kernels and operators that appeared, vanished or moved most, by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.result import Result

MOST = 10


@dataclass(frozen=True)
class LargestChange:
    """One kernel (device time) or operator (host time of its own) on both sides: ns and count per step."""

    kind: str
    name: str
    before_ns: float
    after_ns: float
    before_count: float
    after_count: float

    @property
    def what(self) -> str:
        """Say what happened: appeared, vanished or moved."""
        if not self.before_count:
            return "appeared"
        return "vanished" if not self.after_count else "moved"


def moved(before: Sequence[Result], after: Sequence[Result], labels: tuple[str, str]) -> list[LargestChange]:
    """Return what moved most of a phase's kernels, then of its operators, ten of each at most."""
    return [*_kind("kernel", "device_ns", before, after, labels), *_kind("operator", "self_ns", before, after, labels)]


def _kind(
    kind: str, metric: str, before: Sequence[Result], after: Sequence[Result], labels: tuple[str, str]
) -> list[LargestChange]:
    one, other = (_by_name(kind, metric, side, label) for side, label in zip((before, after), labels, strict=True))
    if not one or not other:
        # operators on one side alone were not traced on the other: that is no change of the program
        return []
    found = [
        LargestChange(kind, name, *(side.get(name, (0.0, 0.0))[k] for k in (0, 1) for side in (one, other)))
        for name in one.keys() | other.keys()
    ]
    found = [row for row in found if (row.before_ns, row.before_count) != (row.after_ns, row.after_count)]
    return sorted(found, key=lambda row: (-abs(row.after_ns - row.before_ns), row.name))[:MOST]


def _by_name(kind: str, metric: str, results: Sequence[Result], label: str) -> dict[str, tuple[float, float]]:
    """Return (ns, count) per step by name."""
    steps = sum(e.instances for r in results for e in r.entries if e.phase == label and not e.combined)
    total: dict[str, tuple[float, float]] = {}
    for result in results:
        for row in result.kernel_rows if kind == "kernel" else result.operator_rows:
            if row["phase"] == label:
                ns, count = total.get(row[kind if kind in row else "name"], (0.0, 0.0))
                total[row[kind if kind in row else "name"]] = (ns + row[metric], count + row["instances"])
    return {name: (ns / steps, count / steps) for name, (ns, count) in total.items()}
