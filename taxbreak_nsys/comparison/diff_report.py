"""A comparison as text, CSV and JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.comparison.change import BETTER, FEW, NO_DIFFERENCE, NO_INTERVAL, NOT_COMPARABLE, WORSE, Change
from taxbreak_nsys.comparison.diff_markdown import diff_markdown
from taxbreak_nsys.comparison.shown_changes import shown_value
from taxbreak_nsys.output.console import printable, text_console
from taxbreak_nsys.output.csv_text import rows_to_csv
from taxbreak_nsys.output.json_text import json_document
from taxbreak_nsys.output.plain_rows import console_text, percent, plain_table
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from rich.console import Console

    from taxbreak_nsys.comparison.comparison import Comparison, PhaseChange

SCHEMA = "taxbreak-diff/2"
_TITLES = {
    "phase_before": "Phase Before",
    "phase_after": "Phase After",
    "instances_before": "Instances Before",
    "instances_after": "Instances After",
    "metric": "Metric",
    "before": "Before",
    "after": "After",
    "difference": "Difference",
    "low": "Low",
    "high": "High",
    "word": "Word",
}


def render_diff(comparison: Comparison, format: str, unit: str | None) -> str:
    """Return the comparison in a format; metrics are medians per step, times in ns in CSV and JSON."""
    if format == "json":
        return json_document(_data(comparison))
    if format == "csv":
        return rows_to_csv(comparison_rows(comparison), _TITLES)
    if format == "markdown":
        return diff_markdown(comparison, unit)
    console = text_console()
    for name, paths in (("before", comparison.before), ("after", comparison.after)):
        console.print(printable(f"{name}: {', '.join(paths)}"), style="bold")
    for condition in comparison.conditions:
        values = f"{condition.before} before, {condition.after} after"
        console.print()
        console.print(printable(f"{condition.name}: {values}."), style="yellow")
        console.print(printable(f"  So {condition.effect}."))
    for phase in comparison.phases:
        _phase(console, phase, unit)
    for name, labels in (("before", comparison.only_before), ("after", comparison.only_after)):
        if labels:
            console.print()
            console.print(printable(f"only in the report {name}: {', '.join(labels)}"))
    return console_text(console)


def _phase(console: Console, phase: PhaseChange, unit: str | None) -> None:
    console.print()
    name = phase.before if phase.before == phase.after else f"{phase.before} -> {phase.after}"
    console.rule(printable(name), align="left", characters="-")
    steps_before, steps_after = phase.instances
    few = "; few, so intervals are coarse" if 1 < min(steps_before, steps_after) < FEW else ""
    console.print(f"{steps_before} and {steps_after} instances, medians per step{few}")
    table = plain_table("Metric", "before", "after", "change %", "95 % interval")
    table.add_column("", no_wrap=True)
    for change in phase.changes:
        bounds = "-"
        if change.low is not None and change.high is not None:
            bounds = f"{_signed(change, change.low)}..{_signed(change, change.high)}"
        table.add_row(
            change.title, shown_value(change, change.before, unit), shown_value(change, change.after, unit),
            percent(change.share(change.difference), signed=True), bounds, _SHORT.get(change.word, change.word),
        )  # fmt: skip
    console.print(table)
    wall = phase.changes[0]
    if phase.where is not None and wall.word in (BETTER, WORSE, NO_INTERVAL):
        console.print(
            f"The wall changed by {_signed_time(wall.difference, unit)} per step; the largest part is in "
            f"{phase.where.title}, {_signed_time(phase.where.difference, unit)}.",
            style="bold",
        )
    elif wall.word == NOT_COMPARABLE:
        console.print("Host times differ with the tracing: this shows no change of the program.", style="bold")
    _largest_changes(console, phase, unit)


_SHORT = {NO_INTERVAL: "no interval", NO_DIFFERENCE: "no difference"}


def _largest_changes(console: Console, phase: PhaseChange, unit: str | None) -> None:
    for kind, what in (("kernel", "device time of kernels"), ("operator", "own time of operators")):
        rows = [row for row in phase.moved if row.kind == kind][:5]
        if not rows:
            continue
        console.print(f"{what}, per step:")
        for row in rows:
            times = f"{show_time(round(row.before_ns), unit):>9} -> {show_time(round(row.after_ns), unit):<9}"
            head = f"  {row.what:<8} {times} {row.before_count:g} -> {row.after_count:g}  "
            console.print(head + printable(row.name), no_wrap=True, overflow="ellipsis", crop=True)


def _signed(change: Change, value: float) -> str:
    share = change.share(value)
    if share is not None:
        return f"{100 * share:+.0f}" if abs(share) >= 0.1 else percent(share, signed=True)
    return _signed_time(value, None) if change.metric.endswith("_ns") else f"{value:+g}"


def _signed_time(ns: float, unit: str | None) -> str:
    return f"{'+' if ns > 0 else ''}{show_time(round(ns), unit)}"


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row per phase and metric, with the keys of the CSV columns; times in ns."""
    return [
        {
            "phase_before": phase.before,
            "phase_after": phase.after,
            "instances_before": phase.instances[0],
            "instances_after": phase.instances[1],
            "difference": change.difference,
        }
        | dataclasses.asdict(change)
        for phase in comparison.phases
        for change in phase.changes
    ]


def _data(comparison: Comparison) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "before": list(comparison.before),
        "after": list(comparison.after),
        "conditions": [dataclasses.asdict(condition) for condition in comparison.conditions],
        "host_comparable": comparison.host_comparable,
        "phases": [
            {
                "before": phase.before,
                "after": phase.after,
                "instances_before": phase.instances[0],
                "instances_after": phase.instances[1],
                "where": phase.where.metric if phase.where else None,
                "changes": [dataclasses.asdict(c) | {"difference": c.difference} for c in phase.changes],
                "moved": [dataclasses.asdict(row) | {"what": row.what} for row in phase.moved],
            }
            for phase in comparison.phases
        ],
        "only_before": list(comparison.only_before),
        "only_after": list(comparison.only_after),
    }
