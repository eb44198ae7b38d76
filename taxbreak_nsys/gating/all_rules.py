"""All rules of a gate against one side and a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from taxbreak_nsys.gating.judging import NO_BASELINE, NOT_JUDGED, Judgement, judge_rule, not_comparable_reason
from taxbreak_nsys.gating.noise_rules import NoiseRule, judge_noise_rule
from taxbreak_nsys.gating.rules import Rule
from taxbreak_nsys.gating.sides import GateSide


def judge_rules(
    rules: Sequence[Rule | NoiseRule],
    side: GateSide,
    baseline: GateSide | None,
    *,
    first_baseline: bool = False,
    different: Sequence[str] = (),
) -> list[Judgement]:
    """Judge rules; with `first_baseline` the rules that need one pass as `no baseline yet`.

    `different` says what keeps the two captures from being compared: rules that name the baseline are then not judged.
    """
    return [
        Judgement(
            rule=rule.text,
            value=None,
            limit=None,
            verdict=NO_BASELINE,
            reason="it compares with a baseline, and there is none yet",
        )
        if first_baseline and rule.needs_baseline
        else Judgement(
            rule=rule.text, value=None, limit=None, verdict=NOT_JUDGED, reason=not_comparable_reason(different)
        )
        if different and rule.needs_baseline
        else judge_noise_rule(rule, side, baseline)
        if isinstance(rule, NoiseRule)
        else judge_rule(rule, side.metrics, baseline.metrics if baseline else None)
        for rule in rules
    ]
