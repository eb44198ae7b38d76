"""The rule language: a comparison of two sums of figures and numbers, read by recursive descent.

    rule   = sum ( ">=" | "<=" | ">" | "<" | "==" | "!=" ) sum
    sum    = term { ( "+" | "-" ) term }
    term   = factor { ( "*" | "/" ) factor }
    factor = number [ unit ] | figure | "baseline" | "(" sum ")" | "-" factor
    figure = [ "baseline" "." ] phase "." name
    phase  = word | quoted text
    unit   = "ns" | "us" | "ms" | "s" | "%"

`baseline` alone is the rule's one figure in the baseline. Nothing else can be said in it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from taxbreak_nsys.errors import TaxbreakError

LONGEST = 1000
DEEPEST = 50
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*(?P<unit>(?:ns|us|ms|s)\b|%)?"
    r"|(?P<word>[^\W\d]\w*)|(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<sign>>=|<=|==|!=|[-+*/()<>.]))"
)


@dataclass(frozen=True)
class Number:
    """A number, times in ns."""

    value: float


@dataclass(frozen=True)
class MetricName:
    """A figure of a phase, in the report or (`of_baseline`) in the baseline."""

    phase: str
    name: str
    of_baseline: bool = False


@dataclass(frozen=True)
class Same:
    """The rule's own figure in the baseline."""


@dataclass(frozen=True)
class Negative:
    """The negative of an expression."""

    of: Expression


@dataclass(frozen=True)
class Binary:
    """Two expressions with + - * or / between them."""

    sign: str
    left: Expression
    right: Expression


Expression = Number | MetricName | Same | Negative | Binary


@dataclass(frozen=True)
class Rule:
    """One rule: what it says, and the two sides of its comparison."""

    text: str
    left: Expression
    sign: str
    right: Expression

    @property
    def figures(self) -> tuple[MetricName, ...]:
        """The figures that the rule names, in order."""
        return tuple(part for part in (*_parts(self.left), *_parts(self.right)) if isinstance(part, MetricName))

    @property
    def needs_baseline(self) -> bool:
        """Whether it cannot be judged without a baseline."""
        named = any(figure.of_baseline for figure in self.figures)
        return named or any(isinstance(part, Same) for part in (*_parts(self.left), *_parts(self.right)))


def parse_rule(text: str) -> Rule:
    """Parse a rule; raises TaxbreakError with one line that says what is wrong and where."""
    return _Parser(text).rule()


def _parts(expression: Expression) -> list[Expression]:
    if isinstance(expression, Negative):
        return _parts(expression.of)
    if isinstance(expression, Binary):
        return [*_parts(expression.left), *_parts(expression.right)]
    return [expression]


class _Parser:
    """One pass over a rule's tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        if len(text) > LONGEST:
            raise TaxbreakError(f"rule of {len(text)} characters: the longest is {LONGEST}")

    def rule(self) -> Rule:
        left = self._sum()
        sign = self._take_sign(*COMPARISONS)
        if sign is None:
            raise self._wrong("expected a comparison: >= <= > < == or !=")
        right = self._sum()
        if self._next() is not None:
            raise self._wrong("expected the end of the rule")
        rule = Rule(self._text.strip(), left, sign, right)
        own = {figure for figure in rule.figures if not figure.of_baseline}
        if any(isinstance(part, Same) for part in (*_parts(left), *_parts(right))) and len(own) != 1:
            raise TaxbreakError(
                f"rule {rule.text!r}: 'baseline' alone stands for the rule's one figure, and it names {len(own)}; "
                "write baseline.PHASE.FIGURE"
            )
        return rule

    def _sum(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"nested deeper than {DEEPEST}")
        left = self._term()
        while (sign := self._take_sign("+", "-")) is not None:
            left = Binary(sign, left, self._term())
        self._depth -= 1
        return left

    def _term(self) -> Expression:
        left = self._factor()
        while (sign := self._take_sign("*", "/")) is not None:
            left = Binary(sign, left, self._factor())
        return left

    def _factor(self) -> Expression:
        negative = False
        while self._take_sign("-") is not None:
            negative = not negative
        found = self._plain()
        return Negative(found) if negative else found

    def _plain(self) -> Expression:
        if self._take_sign("(") is not None:
            inside = self._sum()
            if self._take_sign(")") is None:
                raise self._wrong("expected )")
            return inside
        token = self._next()
        if token is None:
            raise self._wrong("expected a number or a figure")
        if token["number"] is not None:
            self._at = token.end()
            return _number(token["number"], token["unit"])
        first = self._take_name("a number or a figure (PHASE.FIGURE)")
        if first == "baseline" and token["word"]:
            if self._take_sign(".") is None:
                return Same()
            return self._figure(self._take_name("a phase"), of_baseline=True)
        return self._figure(first, of_baseline=False)

    def _figure(self, phase: str, *, of_baseline: bool) -> MetricName:
        if self._take_sign(".") is None:
            raise self._wrong(f"expected '.' and a figure after {phase!r}, as in decode.hdbi")
        return MetricName(phase, self._take_name("a figure"), of_baseline)

    def _next(self) -> re.Match[str] | None:
        if not self._text[self._at :].strip():
            return None
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            raise self._wrong("not understood")
        return token

    def _take_sign(self, *signs: str) -> str | None:
        token = self._next()
        if token is None or token["sign"] not in signs:
            return None
        self._at = token.end()
        return token["sign"]

    def _take_name(self, what: str) -> str:
        token = self._next()
        if token is None or not (token["word"] or token["quoted"]):
            raise self._wrong(f"expected {what}")
        self._at = token.end()
        return token["word"] or token["quoted"][1:-1]

    def _wrong(self, what: str) -> TaxbreakError:
        rest = self._text[self._at :].strip()
        return TaxbreakError(f"rule {self._text.strip()!r}: {what}, at {rest[:40]!r}" if rest else
                             f"rule {self._text.strip()!r}: {what}, at its end")  # fmt: skip


def _number(text: str, unit: str | None) -> Number:
    if unit == "%":
        return Number(float(text) / 100)
    value = float(text) if any(c in text for c in ".eE") else int(text)
    return Number(value * _UNITS[unit] if unit else value)
