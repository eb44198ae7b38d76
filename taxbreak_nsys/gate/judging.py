"""Judging rules: what each side comes to, and whether the rule holds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taxbreak_nsys.gate.metrics import PhaseFigures
from taxbreak_nsys.gate.rules import COMPARISONS, Binary, Expression, MetricName, Negative, Number, Rule, Same

HELD, BROKEN, NOT_JUDGED = "held", "broken", "not judged"
EXIT_CODES = {HELD: 0, BROKEN: 1, NOT_JUDGED: 2}

Figures = Mapping[str, PhaseFigures]


@dataclass(frozen=True)
class Judgement:
    """What became of a rule: `figure` and `limit` are its two sides; `reason` says why it was not judged."""

    rule: str
    figure: float | None
    limit: float | None
    verdict: str
    reason: str | None = None
    in_ns: bool = False
    """Whether the sides are times in ns, for showing them."""


class _NotJudged(Exception):
    """A side of a rule has no value."""


def judge_rules(
    rules: Sequence[Rule], figures: Figures, baseline: Figures | None, different: Sequence[str] = ()
) -> list[Judgement]:
    """Judge rules against a report's figures and, where they name it, a baseline's.

    `different` says what keeps the two captures from being compared: rules that name the baseline are then not judged.
    """
    return [
        Judgement(rule.text, None, None, NOT_JUDGED, _why_not(different))
        if different and rule.needs_baseline
        else _judge(rule, figures, baseline)
        for rule in rules
    ]


def _why_not(different: Sequence[str]) -> str:
    return f"the baseline is not comparable ({'; '.join(different)}); give --allow-different to judge all the same"


def exit_code(judgements: Sequence[Judgement]) -> int:
    """Return 1 where a rule is broken, else 2 where one could not be judged, else 0."""
    codes = {EXIT_CODES[judgement.verdict] for judgement in judgements}
    return next((code for code in (1, 2) if code in codes), 0)


def _judge(rule: Rule, figures: Figures, baseline: Figures | None) -> Judgement:
    own = next((figure for figure in rule.figures if not figure.of_baseline), None)
    in_ns = all(figure.name.removesuffix("_per_step").endswith("_ns") for figure in rule.figures) and bool(rule.figures)

    def value(side: Expression) -> float:
        if isinstance(side, Number):
            return side.value
        if isinstance(side, Negative):
            return -value(side.of)
        if isinstance(side, Binary):
            return _combined(side, value(side.left), value(side.right))
        if isinstance(side, Same):
            assert own is not None
            return _look_up(MetricName(own.phase, own.name, True), figures, baseline)
        return _look_up(side, figures, baseline)

    try:
        left, right = value(rule.left), value(rule.right)
    except _NotJudged as why:
        return Judgement(rule.text, None, None, NOT_JUDGED, str(why), in_ns)
    except OverflowError:
        return Judgement(rule.text, None, None, NOT_JUDGED, "a number in it is too large", in_ns)
    held = COMPARISONS[rule.sign](left, right)
    return Judgement(rule.text, left, right, HELD if held else BROKEN, None, in_ns)


def _combined(side: Binary, left: float, right: float) -> float:
    if side.sign == "+":
        return left + right
    if side.sign == "-":
        return left - right
    if side.sign == "*":
        return left * right
    if right == 0:
        raise _NotJudged("a division by zero")
    return left / right


def _look_up(figure: MetricName, figures: Figures, baseline: Figures | None) -> float:
    where = "the baseline" if figure.of_baseline else "the report"
    held = baseline if figure.of_baseline else figures
    if held is None:
        raise _NotJudged("it names a baseline, and there is none; give --baseline FILE")
    if figure.phase not in held:
        raise _NotJudged(f"{where} has no phase {figure.phase!r}{_nearest(figure.phase, held)}")
    phase = held[figure.phase]
    if figure.name not in phase.values:
        raise _NotJudged(f"there is no figure {figure.name!r}{_nearest(figure.name, phase.values)}")
    value = phase.values[figure.name]
    if value is None:
        raise _NotJudged(f"{figure.phase}.{figure.name} is not measured in {where}: {phase.reason}")
    return value


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """Return the known names nearest to one, in words; all of them where none is near and they are few."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or (list(known) if len(known) <= 8 else [])
    return f"; nearest: {', '.join(close)}" if close else ""
