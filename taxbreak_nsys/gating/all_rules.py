"""Judges all rules of a gate on one side and its baseline."""

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
    """Return one judgement per rule, in the order of the rules.

    With `first_baseline`, rules that need a baseline pass as `no baseline yet`. If `different` holds reasons why the
    two captures cannot be compared, rules that need a baseline are not judged.
    """

    def without_values(rule: Rule | NoiseRule, verdict: str, reason: str) -> Judgement:
        return Judgement(rule=rule.text, value=None, limit=None, verdict=verdict, reason=reason)

    judgements = []
    for rule in rules:
        if first_baseline and rule.needs_baseline:
            reason = "it compares with a baseline, and there is none yet"
            judgements.append(without_values(rule, NO_BASELINE, reason))
        elif different and rule.needs_baseline:
            judgements.append(without_values(rule, NOT_JUDGED, not_comparable_reason(different)))
        elif isinstance(rule, NoiseRule):
            judgements.append(judge_noise_rule(rule, side, baseline))
        else:
            judgements.append(judge_rule(rule, side.metrics, baseline.metrics if baseline else None))
    return judgements
