"""A comparison as rows of short texts: what the HTML page of two reports shows, and the values of all tables."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.comparison.change import NOT_COMPARABLE, NOT_JUDGED, Change
from taxbreak_nsys.comparison.comparison import compare
from taxbreak_nsys.comparison.sample_changes import phase_samples
from taxbreak_nsys.output.plain_rows import percent
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import Result


def shown_value(change: Change, value: float, unit: str | None) -> str:
    """Return a value of a change's metric as text; times in `unit`, None for the most readable one."""
    if change.metric.endswith("_ns"):
        return show_time(round(value), unit)
    return f"{value:.3f}" if change.metric == "hdbi" else f"{value:g}"


def shown_bounds(change: Change) -> str | None:
    """Return the 95 % interval in % of the value before; None where there is none, or where it would say nothing."""
    if change.low is None or change.high is None or change.word == NOT_COMPARABLE:
        return None
    low, high = (change.share(bound) for bound in (change.low, change.high))
    return f"{percent(low, signed=True)} … {percent(high, signed=True)}"


def page_differences(results: Sequence[Result]) -> dict[str, Any] | None:
    """Return what `diff` says of two reports: `conditions` (sentences) and `rows`; None without a phase in common.

    Without scipy the rows have no interval, and no word but `not comparable`; `judged` says which.
    """
    before, after = results
    if not phase_samples([before]).keys() & phase_samples([after]).keys():
        return None
    judged = find_spec("scipy") is not None
    comparison = compare([before], [after], judged=judged)
    return {
        "judged": judged,
        "conditions": [
            f"{_sentence(f'{condition.name}: {condition.before} before, {condition.after} after')} "
            f"{_sentence(condition.effect)}"
            for condition in comparison.conditions
        ],
        "rows": [
            {
                "phase": phase.before,
                "metric": change.title,
                "before": shown_value(change, change.before, None),
                "after": shown_value(change, change.after, None),
                "percent": percent(change.share(change.difference), signed=True),
                "bounds": shown_bounds(change) or "-",
                "word": "-" if change.word == NOT_JUDGED else change.word,
            }
            for phase in comparison.phases
            for change in phase.changes
        ],
    }


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
