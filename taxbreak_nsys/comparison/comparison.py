"""A comparison of two captures, or of two sets of captures: capture conditions first, then each phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.comparison.change import Change, changes, where
from taxbreak_nsys.comparison.conditions import Condition, differences, evidence_condition, graph_condition
from taxbreak_nsys.comparison.largest_changes import LargestChange, moved
from taxbreak_nsys.comparison.sample_changes import pairs, phase_samples
from taxbreak_nsys.result import Result


@dataclass(frozen=True)
class PhaseChange:
    """The changes of one phase; `where` is the layer that changed most in the direction of the wall time."""

    before: str
    after: str
    instances: tuple[int, int]
    changes: list[Change]
    where: Change | None
    moved: list[LargestChange]


@dataclass(frozen=True)
class Comparison:
    """Two sides: the differences in how they were captured, and the changes of each phase.

    `only_before` and `only_after` are the phases that the other side lacks (empty if the user gave the pairs).
    `host_comparable` is False if the two sides were traced differently, because tracing itself changes host times.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    conditions: list[Condition]
    host_comparable: bool
    phases: list[PhaseChange]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def compare(
    before: Sequence[Result], after: Sequence[Result], mapped: Sequence[str] = (), *, judged: bool = True
) -> Comparison:
    """Compare two sides; each is one report, or several reports of the same kind.

    Phases are paired by label, or as `mapped` (BEFORE=AFTER) says. Without `judged` no change has an interval.
    Raises TaxbreakError where no phase is common.
    """
    samples_before, samples_after = phase_samples(before), phase_samples(after)
    conditions = differences(before, after)
    comparable = not any(condition.stretches_host for condition in conditions)
    phases = []
    for old, new in pairs(samples_before, samples_after, mapped):
        evidence = evidence_condition(old, new)
        conditions += [condition for condition in (evidence, graph_condition(old, new)) if condition is not None]
        compared = changes(old, new, layers_comparable=evidence is None, host_comparable=comparable, judged=judged)
        phases.append(
            PhaseChange(
                before=old.label,
                after=new.label,
                instances=(old.instances, new.instances),
                changes=compared,
                where=where(compared),
                moved=moved(before, after, (old.label, new.label)),
            )
        )
    return Comparison(
        before=tuple(result.report.path for result in before),
        after=tuple(result.report.path for result in after),
        conditions=conditions,
        host_comparable=comparable,
        phases=phases,
        only_before=() if mapped else tuple(label for label in samples_before if label not in samples_after),
        only_after=() if mapped else tuple(label for label in samples_after if label not in samples_before),
    )
