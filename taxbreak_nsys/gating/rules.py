"""The rule language: a comparison of two sums of metrics and numbers.

    rule   = sum ( ">=" | "<=" | ">" | "<" | "==" | "!=" ) sum
    sum    = term { ( "+" | "-" ) term }
    term   = factor { ( "*" | "/" ) factor }
    factor = number [ unit ] | metric | "baseline" | "(" sum ")" | "-" factor
    metric = [ "baseline" "." ] phase "." name
    phase  = word | quoted text
    unit   = "ns" | "us" | "ms" | "s" | "%"

`baseline` alone stands for the rule's only metric, taken from the baseline. A name is one of `metric_names.METRICS`,
short (`kernel_launches`) or as the JSON path (`launches.kernel`). Units and phases are rewritten as Python expressions
and parsed by Python's parser; any syntax node outside this grammar is rejected. Nothing is compiled or called.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from taxbreak_nsys.errors import TaxbreakError

LONGEST = 1000
DEEPEST = 200
COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.GtE: operator.ge, ast.LtE: operator.le, ast.Gt: operator.gt, ast.Lt: operator.lt, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
BASELINE = "baseline"
_UNITS = {"ns": "", "us": "*1000", "ms": "*1000000", "s": "*1000000000", "%": "/100"}
_OWN_FORMS = re.compile(
    r"\bbaseline\s*\.\s*(?P<of_baseline>[^\W\d]\w*|'[^']*'|\"[^\"]*\")"
    r"|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?<![\w.])(?P<word>[^\W\d]\w*)(?=\s*\.)"
    r"|(?<![\w.])(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*(?P<unit>(?:ns|us|ms|s)\b|%)"
)
"""Syntax of rules that Python does not have: phases without quotes, and numbers with a unit."""


@dataclass(frozen=True)
class MetricName:
    """A metric of a phase, in the report or (`of_baseline`) in the baseline."""

    phase: str
    name: str
    of_baseline: bool = False


@dataclass(frozen=True)
class Rule:
    """One rule: its text, its comparison operator and the two sides, which contain only nodes of the grammar."""

    text: str
    left: ast.expr
    comparison: type[ast.cmpop]
    right: ast.expr

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        """The metrics that the rule names, in order."""
        names = (metric_name(leaf) for side in (self.left, self.right) for leaf in _leaves(side))
        return tuple(name for name in names if name is not None)

    @property
    def compares_itself(self) -> bool:
        """True if the rule contains `baseline` alone, which stands for the rule's only metric."""
        return any(is_baseline(leaf) for side in (self.left, self.right) for leaf in _leaves(side))

    @property
    def needs_baseline(self) -> bool:
        """True if the rule cannot be judged without a baseline."""
        return self.compares_itself or any(name.of_baseline for name in self.metrics)


def parse_rule(text: str) -> Rule:
    """Parse a rule; raises TaxbreakError with one line that says what is wrong."""
    if len(text) > LONGEST:
        raise TaxbreakError(f"rule of {len(text)} characters: the longest is {LONGEST}")
    comparison = _read(text)
    if not isinstance(comparison, ast.Compare):
        raise _wrong(text, "expected a comparison: >= <= > < == or !=")
    sign = type(comparison.ops[0])
    if len(comparison.ops) != 1 or sign not in COMPARISONS:
        raise _wrong(text, "expected one comparison: >= <= > < == or !=")
    left, right = comparison.left, comparison.comparators[0]
    for side in (left, right):
        _check(side, text)
    rule = Rule(text.strip(), left, sign, right)
    own = {name for name in rule.metrics if not name.of_baseline}
    if rule.compares_itself and len(own) != 1:
        raise _wrong(text, f"'baseline' alone stands for the rule's only metric, but the rule names {len(own)}; write "
                           "baseline.PHASE.METRIC")  # fmt: skip
    return rule


def is_baseline(node: ast.expr) -> bool:
    """Return True if a node is the bare word `baseline`."""
    return isinstance(node, ast.Name) and node.id == BASELINE


def metric_name(node: ast.expr) -> MetricName | None:
    """Return the metric that a node names (`decode.hdbi`, `baseline.decode.states_ns.python`); None for others."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    of_baseline = isinstance(node, ast.Subscript) and is_baseline(node.value)
    phase = node.slice if isinstance(node, ast.Subscript) and of_baseline else node
    if not parts or not isinstance(phase, ast.Constant) or not isinstance(phase.value, str):
        return None
    return MetricName(phase.value, ".".join(parts), of_baseline)


def _read(text: str) -> ast.expr:
    """Return the syntax tree of a rule, after rewriting its own syntax as Python."""
    python = _OWN_FORMS.sub(_as_python, " ".join(text.split()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # syntax that Python only warns about is not a valid rule
            return ast.parse(python, mode="eval").body
    except (SyntaxError, ValueError, Warning, RecursionError, MemoryError) as error:
        detail = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        raise _wrong(text, f"not understood ({detail})") from None


def _as_python(form: re.Match[str]) -> str:
    if form["number"] is not None:
        return f"({form['number']}{_UNITS[form['unit']]})"
    if form["of_baseline"] is not None:
        return f"{BASELINE}[{_unquoted(form['of_baseline'])!r}]"
    return BASELINE if form["word"] == BASELINE else repr(_unquoted(form["word"] or form["quoted"]))


def _unquoted(phase: str) -> str:
    return phase[1:-1] if phase[0] in "'\"" else phase


def _check(node: ast.expr, text: str, depth: int = 0) -> None:
    """Raise TaxbreakError if a side of a rule contains a node outside the grammar."""
    if depth > DEEPEST:
        raise _wrong(text, f"nested deeper than {DEEPEST}")
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        _check(node.left, text, depth + 1)
        _check(node.right, text, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand, text, depth + 1)
    elif not (_is_number(node) or is_baseline(node) or metric_name(node) is not None):
        raise _wrong(text, f"expected a number or a metric such as decode.hdbi, got {_shown(node)!r}")


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _shown(node: ast.expr) -> str:
    return " ".join(ast.unparse(node).split())[:40]


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _leaves(node.left)
        yield from _leaves(node.right)
    elif isinstance(node, ast.UnaryOp):
        yield from _leaves(node.operand)
    else:
        yield node


def _wrong(text: str, what: str) -> TaxbreakError:
    return TaxbreakError(f"rule {text.strip()!r}: {what}")
