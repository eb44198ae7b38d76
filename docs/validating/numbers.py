"""The little statistics that the document needs, and how it writes numbers and tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A median and its interval."""

    value: float
    low: float
    high: float

    def percent(self, digits: int = 1) -> str:
        """Return the value as a share of one, with its interval."""
        value, low, high = (f"{100 * part:+.{digits}f}" for part in (self.value, self.low, self.high))
        return f"{value} % ({low} to {high})"


def measured(values: Sequence[float]) -> Measured:
    """Return the median, and the interval of two of the values that holds it with at least 95 % of chance.

    That interval asks nothing of how the values are distributed. Of fewer than six values none is so sure: it is
    from the smallest to the largest then.
    """
    ranked, count = sorted(values), len(values)
    outside, below = 0, 0.0
    while True:
        below += math.comb(count, outside) / 2**count
        if below > (1 - CONFIDENCE) / 2:
            break
        outside += 1
    at = max(outside - 1, 0)
    return Measured(median(ranked), ranked[at], ranked[count - 1 - at])


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), *[[str(cell) for cell in row] for row in rows]]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([body[0], "|" + " --- |" * len(lines[0]), *body[1:]])


def ms(ns: float | None, digits: int = 2) -> str:
    """Return nanoseconds as milliseconds."""
    return "not measured" if ns is None else f"{ns / 1e6:.{digits}f}"


def us(ns: float, digits: int = 2) -> str:
    """Return nanoseconds as microseconds."""
    return f"{ns / 1e3:.{digits}f}"


def share(value: float | None) -> str:
    """Return an HDBI."""
    return "-" if value is None else f"{value:.3f}"


def crossing(points: Sequence[tuple[float, float]], level: float = 0.5) -> float | None:
    """Return where a curve first rises through a level, straight between points over the logarithm of x; else None."""
    ordered = sorted(points)
    for (left, before), (right, after) in itertools.pairwise(ordered):
        if before < level <= after:
            way = (level - before) / (after - before)
            return math.exp(math.log(left) + way * (math.log(right) - math.log(left)))
    return None
