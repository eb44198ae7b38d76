"""Judging rules: the value of each side, and whether the rule holds."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from taxbreak_nsys.gating.metrics import PhaseMetrics
from taxbreak_nsys.gating.rules import COMPARISONS, OPERATIONS, MetricName, Rule, is_baseline, metric_name
from taxbreak_nsys.model.metric_names import PER_STEP

HELD, BROKEN, NOT_JUDGED, NO_BASELINE = "held", "broken", "not judged", "no baseline yet"
EXIT_CODES = {HELD: 0, BROKEN: 1, NOT_JUDGED: 2, NO_BASELINE: 0}

Metrics = Mapping[str, PhaseMetrics]


@dataclass(frozen=True)
class Judgement:
    """The verdict on a rule; `value` and `limit` are its left and right side, `reason` why it was not judged."""

    rule: str
    value: float | None
    limit: float | None
    verdict: str
    reason: str | None = None
    in_ns: bool = False
    """The sides are times in ns: show them with a unit."""
    note: str | None = None
    """For rules that allow for noise: the interval that decided the verdict."""


class _NotJudged(Exception):
    """A side of a rule has no value."""


def not_comparable_reason(different: Sequence[str]) -> str:
    """Return why a rule that names the baseline is not judged; `different` lists the differences of the captures."""
    return f"the baseline is not comparable ({'; '.join(different)}); give --allow-different to judge it anyway"


def exit_code(judgements: Sequence[Judgement]) -> int:
    """Return 1 if a rule is broken, else 2 if a rule was not judged, else 0."""
    codes = {EXIT_CODES[judgement.verdict] for judgement in judgements}
    return next((code for code in (1, 2) if code in codes), 0)


def judge_rule(rule: Rule, metrics: Metrics, baseline: Metrics | None) -> Judgement:
    """Return the judgement of a rule on a report's metrics, and on the baseline's where the rule names it."""
    names = rule.metrics
    in_ns = bool(names) and all(name.name.removesuffix(PER_STEP).rsplit(".", 1)[-1].endswith("_ns") for name in names)
    own = next((name for name in names if not name.of_baseline), None)

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant):
            return node.value  # type: ignore[return-value]  # parse_rule accepts numbers only
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        if isinstance(node, ast.BinOp):
            try:
                return OPERATIONS[type(node.op)](value(node.left), value(node.right))
            except ZeroDivisionError as error:
                raise _NotJudged("a division by zero") from error
        name = own if is_baseline(node) else metric_name(node)
        assert name is not None
        return _look_up(replace(name, of_baseline=True) if is_baseline(node) else name, metrics, baseline)

    def not_judged(reason: str) -> Judgement:
        return Judgement(rule=rule.text, value=None, limit=None, verdict=NOT_JUDGED, reason=reason, in_ns=in_ns)

    try:
        left, right = value(rule.left), value(rule.right)
    except _NotJudged as why:
        return not_judged(str(why))
    except OverflowError:
        return not_judged("a number in it is too large")
    verdict = HELD if COMPARISONS[rule.comparison](left, right) else BROKEN
    return Judgement(rule=rule.text, value=left, limit=right, verdict=verdict, in_ns=in_ns)


def _look_up(name: MetricName, metrics: Metrics, baseline: Metrics | None) -> float:
    where = "the baseline" if name.of_baseline else "the report"
    phases = baseline if name.of_baseline else metrics
    if phases is None:
        raise _NotJudged("it names a baseline, and there is none; give --baseline FILE")
    if name.phase not in phases:
        raise _NotJudged(f"{where} has no phase {name.phase!r}{_nearest(name.phase, phases)}")
    phase = phases[name.phase]
    if name.name not in phase.values:
        raise _NotJudged(f"there is no metric {name.name!r}{_nearest(name.name, phase.values)}")
    value = phase.values[name.name]
    if value is None:
        raise _NotJudged(f"{name.phase}.{name.name} is not measured in {where}: {phase.reason}")
    return value


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """Return a clause with the known names closest to `name`, or all of them if none is close and there are few."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or (list(known) if len(known) <= 8 else [])
    return f"; nearest: {', '.join(close)}" if close else ""
