"""Rules that allow for noise, such as `decode.wall_ns is not worse`: judged by the 95 % interval of `diff`.

    rule = phase "." metric "is not worse" [ "by" number "%" ]

`metric` is one of `comparison.sample_changes.COMPARED`. The rule is broken if the whole interval of the change lies
beyond the tolerance in the direction that is worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from taxbreak_nsys.comparison.change import NOT_COMPARABLE, changes
from taxbreak_nsys.comparison.sample_changes import COMPARED
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.gating.judging import BROKEN, HELD, NOT_JUDGED, Judgement
from taxbreak_nsys.gating.sides import GateSide
from taxbreak_nsys.output.plain_rows import percent

_RULE = re.compile(
    r"\s*(?P<phase>[^\W\d]\w*|'[^']*'|\"[^\"]*\")\s*\.\s*(?P<metric>\w+)\s+is\s+not\s+worse"
    r"(?:\s+by\s+(?P<tolerance>\d+(?:\.\d*)?)\s*%)?\s*"
)
_BY_NAME = {metric.name: metric for metric in COMPARED}


@dataclass(frozen=True)
class NoiseRule:
    """A metric of a phase that must not be worse than in the baseline by more than `tolerance` (a share) plus noise."""

    text: str
    phase: str
    metric: str
    tolerance: float
    needs_baseline = True


def parse_noise_rule(text: str) -> NoiseRule | None:
    """Return the rule, or None if the text is not of this form; raises TaxbreakError if the metric cannot be worse."""
    match = _RULE.fullmatch(text)
    if match is None:
        return None
    judged = [name for name, metric in _BY_NAME.items() if metric.better]
    # two captures are compared per step, whether the rule says so or not
    metric = match["metric"] if match["metric"] in judged else match["metric"].removesuffix("_per_step")
    if metric not in judged:
        raise TaxbreakError(
            f"rule {text.strip()!r}: {match['metric']!r} has no worse side; 'is not worse' takes {', '.join(judged)}"
        )
    phase = match["phase"].strip("'\"")
    return NoiseRule(text.strip(), phase, metric, float(match["tolerance"] or 0) / 100)


def judge_noise_rule(rule: NoiseRule, side: GateSide, baseline: GateSide | None) -> Judgement:
    """Return the judgement of a rule, from the 95 % interval of the change from the baseline to the report."""

    def not_judged(reason: str) -> Judgement:
        return Judgement(rule=rule.text, value=None, limit=None, verdict=NOT_JUDGED, reason=reason, in_ns=in_ns)

    in_ns = rule.metric.endswith("_ns")
    if baseline is None:
        return not_judged("it compares with a baseline, and there is none; give --baseline FILE")
    if not baseline.samples:
        return not_judged("the baseline holds no single steps; write one with --update-baseline, or give its report")
    for name, samples in (("the report", side.samples), ("the baseline", baseline.samples)):
        if rule.phase not in samples:
            return not_judged(f"{name} has no phase {rule.phase!r}; it has {', '.join(samples) or 'none'}")
    before, after = baseline.samples[rule.phase], side.samples[rule.phase]
    differing = baseline.settings_that_stretch(side)
    same_evidence = before.evidences == after.evidences
    compared = changes(before, after, layers_comparable=same_evidence, host_comparable=not differing)
    change = next((change for change in compared if change.metric == rule.metric), None)
    if change is None:
        return not_judged(f"{rule.phase}.{rule.metric} is not measured on both sides, or from different evidence")
    if change.word == NOT_COMPARABLE:
        graphs = [] if before.graphs_traced_as(after) else ["tracing of CUDA graphs"]
        return not_judged(f"captured differently, so host times cannot be compared: {', '.join([*differing, *graphs])}")
    if change.low is None or change.high is None:
        return not_judged("one step on a side gives no interval; capture more steps")
    allowed = rule.tolerance * abs(change.before)
    better = _BY_NAME[rule.metric].better
    broken = change.low > allowed if better < 0 else change.high < -allowed
    low, high = (percent(change.share(bound), signed=True) for bound in (change.low, change.high))
    return Judgement(
        rule=rule.text,
        value=change.after,
        limit=change.before - better * allowed,
        verdict=BROKEN if broken else HELD,
        in_ns=in_ns,
        note=f"change of the median {low} to {high} % (95 %)",
    )
