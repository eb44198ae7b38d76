"""A comparison of two captures, or of two sets of them: conditions first, then phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.comparison.change import Change, changes, where
from taxbreak_nsys.comparison.conditions import Condition, differences, evidence_condition
from taxbreak_nsys.comparison.largest_changes import LargestChange, moved
from taxbreak_nsys.comparison.sample_changes import pairs, phase_samples
from taxbreak_nsys.result import Result


@dataclass(frozen=True)
class PhaseChange:
    """What changed of one phase; `where` is the layer that moved most the way the wall time did."""

    before: str
    after: str
    instances: tuple[int, int]
    changes: list[Change]
    where: Change | None
    moved: list[LargestChange]


@dataclass(frozen=True)
class Comparison:
    """Two sides: what differs in how they were captured, and what changed of each phase.

    `only_before` and `only_after` are phases that the other side lacks, where no pairs were given;
    `host_comparable` is False where the tracing differs: then host times changed with it.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    conditions: list[Condition]
    host_comparable: bool
    phases: list[PhaseChange]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def compare(before: Sequence[Result], after: Sequence[Result], mapped: Sequence[str] = ()) -> Comparison:
    """Compare two sides, each one report or several of the same kind.

    Phases are paired by label, or as `mapped` (BEFORE=AFTER) says. Raises TaxbreakError where no phase is common.
    """
    one, other = phase_samples(before), phase_samples(after)
    paired = pairs(one, other, mapped)
    conditions = differences(before, after)
    comparable = not any(condition.stretches_host for condition in conditions)
    phases = []
    for a, b in paired:
        told = evidence_condition(a, b)
        if told is not None:
            conditions.append(told)
        found = changes(a, b, layers_comparable=told is None, host_comparable=comparable)
        labels = (a.label, b.label)
        phases.append(
            PhaseChange(*labels, (a.instances, b.instances), found, where(found), moved(before, after, labels))
        )
    return Comparison(
        tuple(result.report.path for result in before), tuple(result.report.path for result in after),
        conditions, comparable, phases,
        () if mapped else tuple(label for label in one if label not in other),
        () if mapped else tuple(label for label in other if label not in one),
    )  # fmt: skip
