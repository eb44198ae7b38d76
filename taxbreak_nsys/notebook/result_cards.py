"""A result as small HTML cards, one per phase, for a notebook: HDBI, layers, verdict. No script, no request."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from taxbreak_nsys.output.layer_stack import phase_title, stack_parts
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase, Result

MOST_CARDS = 12
_CARD = (
    "border:1px solid #8886;border-radius:6px;padding:8px 12px;margin:4px;min-width:18em;max-width:26em;"
    "display:inline-block;vertical-align:top"
)
_BAR = "display:flex;height:12px;border-radius:3px;overflow:hidden;background:#8883;margin:6px 0"


def cards_html(result: Result) -> str:
    """Return the cards of the phases: the entry for all threads where a label has several."""
    summed = {entry.phase for entry in result.entries if entry.combined}
    entries = [entry for entry in result.entries if entry.combined or entry.phase not in summed]
    facts = [result.report.gpu, f"nsys {result.report.nsys_version}" if result.report.nsys_version else None]
    head = ", ".join(fact for fact in (Path(result.report.path).name, *facts) if fact)
    shown = "".join(_card(entry, phase_title(entry, result.entries)) for entry in entries[:MOST_CARDS])
    more = len(entries) - MOST_CARDS
    rest = f"<div>{more} more phases in <code>.phases</code></div>" if more > 0 else ""
    warned = len(result.report.warnings)
    warnings = f"<div>⚠️ {warned} warning{'s' if warned != 1 else ''} in <code>.warnings</code></div>" if warned else ""
    return f"<div><div style='opacity:.7'>{escape(head)}</div>{warnings}<div>{shown}</div>{rest}</div>"


def _card(entry: Phase, title: str) -> str:
    layers = entry.taxbreak
    hdbi = (
        f"HDBI <b>{layers.hdbi:.3f}</b> (0 host-bound, 1 device-bound)"
        if layers.hdbi is not None
        else f"HDBI not measured: {escape(layers.hdbi_reason or '')}"
    )
    steps = f"{entry.instances} step{'s' if entry.instances != 1 else ''}"
    per_step = f", {show_time(round(entry.wall_ns / entry.instances))} per step" if entry.instances else ""
    return (
        f"<div style='{_CARD}'><b>{escape(title)}</b><div style='opacity:.7'>{steps}{per_step}</div>"
        f"<div>{hdbi}</div>{_bar(entry)}<div>{escape(entry.verdict.why)}</div></div>"
    )


def _bar(entry: Phase) -> str:
    """Return a bar of the layers in proportion to the wall, each with its share as a tooltip."""
    if not entry.wall_ns:
        return ""
    parts = "".join(
        f"<div style='width:{100 * part.ns / entry.wall_ns:.2f}%;background:{part.colour}' "
        f"title='{escape(part.title)}: {show_time(part.ns)}, {100 * part.ns / entry.wall_ns:.1f} %'></div>"
        for part in stack_parts(entry)
    )
    return f"<div style='{_BAR}'>{parts}</div>"
