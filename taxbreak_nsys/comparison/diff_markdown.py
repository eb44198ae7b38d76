"""A comparison as Markdown, for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taxbreak_nsys.comparison.change import BETTER, NO_INTERVAL, WORSE, Change
from taxbreak_nsys.comparison.shown_changes import shown_bounds, shown_value
from taxbreak_nsys.output.markdown import code, markdown_table, plain
from taxbreak_nsys.output.plain_rows import percent
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from taxbreak_nsys.comparison.comparison import Comparison, PhaseChange

_SIGNS = {BETTER: "✅ ", WORSE: "❌ "}
_TITLES = ("Metric", "Judgement", "Before", "After", "Change (%)", "95 % interval (%)")
_MOST_MOVED = 5


def diff_markdown(comparison: Comparison, unit: str | None) -> str:
    """Return the conditions, then one table per phase with medians per step, as Markdown."""
    sides = (", ".join(code(Path(path).name) for path in side) for side in (comparison.before, comparison.after))
    text = "### TaxBreak: {} → {}\n\n".format(*sides)
    for condition in comparison.conditions:
        values = f"{plain(condition.before)} before, {plain(condition.after)} after"
        text += f"> ⚠️ {plain(condition.name)}: {values}. {plain(condition.effect)}.\n>\n"
    text += "".join(_phase(phase, unit) for phase in comparison.phases)
    for name, labels in (("before", comparison.only_before), ("after", comparison.only_after)):
        if labels:
            text += f"\nOnly in the report {name}: {', '.join(plain(label) for label in labels)}.\n"
    return text


def _phase(phase: PhaseChange, unit: str | None) -> str:
    name = phase.before if phase.before == phase.after else f"{phase.before} → {phase.after}"
    steps_before, steps_after = phase.instances
    text = f"\n#### {plain(name)}\n\n{steps_before} and {steps_after} steps, medians per step.\n\n"
    text += markdown_table(_TITLES, (_change(change, unit) for change in phase.changes), texts=2)
    wall = phase.changes[0]
    if phase.where is not None and wall.word in (BETTER, WORSE, NO_INTERVAL):
        text += f"\nThe largest part of the change is in **{plain(phase.where.title)}**.\n"
    rows = [
        (code(row.name), row.what, f"{row.before_count:g} → {row.after_count:g}",
         show_time(round(row.before_ns), unit), show_time(round(row.after_ns), unit))
        for row in phase.moved[:_MOST_MOVED]
    ]  # fmt: skip
    if rows:
        moved = markdown_table(("Kernel or operator", "", "Count", "Before", "After"), rows, texts=2)
        text += f"\n<details><summary>Kernels and operators with the largest change</summary>\n\n{moved}\n</details>\n"
    return text


def _change(change: Change, unit: str | None) -> tuple[str, ...]:
    return (
        plain(change.title),
        _SIGNS.get(change.word, "") + plain(change.word),
        shown_value(change, change.before, unit),
        shown_value(change, change.after, unit),
        percent(change.share(change.difference), signed=True),
        shown_bounds(change) or "–",
    )
