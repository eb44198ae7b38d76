"""Kernels and operators that appeared, vanished or changed most, per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.result import Result

MOST = 10


@dataclass(frozen=True)
class LargestChange:
    """One kernel (device time) or operator (self time on the host) on both sides: ns and count per step."""

    kind: str
    name: str
    before_ns: float
    after_ns: float
    before_count: float
    after_count: float

    @property
    def what(self) -> str:
        """The kind of change: appeared, vanished or moved."""
        if not self.before_count:
            return "appeared"
        return "vanished" if not self.after_count else "moved"


def moved(before: Sequence[Result], after: Sequence[Result], labels: tuple[str, str]) -> list[LargestChange]:
    """Return the kernels of a phase that changed most, then its operators; at most ten of each."""
    return [
        *_changes_by_name("kernel", "device_ns", before, after, labels),
        *_changes_by_name("operator", "self_ns", before, after, labels),
    ]


def _changes_by_name(
    kind: str, metric: str, before: Sequence[Result], after: Sequence[Result], labels: tuple[str, str]
) -> list[LargestChange]:
    old, new = (_by_name(kind, metric, side, label) for side, label in zip((before, after), labels, strict=True))
    if not old or not new:
        # a side without any operators did not trace them: that is no change of the program
        return []
    rows = []
    for name in old.keys() | new.keys():
        (before_ns, before_count), (after_ns, after_count) = (side.get(name, (0.0, 0.0)) for side in (old, new))
        if (before_ns, before_count) != (after_ns, after_count):
            rows.append(
                LargestChange(
                    kind=kind,
                    name=name,
                    before_ns=before_ns,
                    after_ns=after_ns,
                    before_count=before_count,
                    after_count=after_count,
                )
            )
    return sorted(rows, key=lambda row: (-abs(row.after_ns - row.before_ns), row.name))[:MOST]


def _by_name(kind: str, metric: str, results: Sequence[Result], label: str) -> dict[str, tuple[float, float]]:
    """Return (ns, count) per step for each name."""
    steps = sum(e.instances for r in results for e in r.entries if e.phase == label and not e.combined)
    total: dict[str, tuple[float, float]] = {}
    for result in results:
        for row in result.kernel_rows if kind == "kernel" else result.operator_rows:
            if row["phase"] == label:
                ns, count = total.get(row[kind if kind in row else "name"], (0.0, 0.0))
                total[row[kind if kind in row else "name"]] = (ns + row[metric], count + row["instances"])
    return {name: (ns / steps, count / steps) for name, (ns, count) in total.items()}
