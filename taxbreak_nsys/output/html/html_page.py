"""Builds the page from template, style, script, plotly and data: one file that makes no network requests."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys import __version__
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.html import charts, html_details, html_tables
from taxbreak_nsys.output.layer_stack import COLOURS, TITLES

if TYPE_CHECKING:
    from taxbreak_nsys.output.html.timelines import TimelineCollector
    from taxbreak_nsys.result import Result

_DETAILS = {
    "taxbreak_gap_sum": "Idle gaps of the device",
    "taxbreak_class_sum": "Kernel classes",
    "taxbreak_nvtx_sum": "Ranges",
}
"""Tables of details, shown before the tables of kernels and operators if the analysis computed them."""

EVENTS = 50_000
"""Default number of host intervals and device operations in all timelines of a page."""


def render_page(
    results: Sequence[Result], timelines: Sequence[TimelineCollector], differences: Mapping[str, Any] | None = None
) -> str:
    """Return the report as HTML, with a section on omitted data; `timelines` has the collector of each result.

    `differences` is what `shown_changes.page_differences` says of two results.
    Raises TaxbreakError if plotly or jinja2 (the extra `html`) is not installed.
    """
    try:
        import jinja2
        import plotly
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise TaxbreakError(
            f"the HTML report needs {error.name}; install it with: pip install 'taxbreak-nsys[html]'"
        ) from error
    titles = _titles(results)
    data, omitted = charts.page_data(results, timelines, titles)
    listings = [
        html_tables.listing(results, titles, report, title)
        for report, title in _DETAILS.items()
        if all(result.details.gaps is not None for result in results)
    ]
    listings.append(html_tables.listing(results, titles, "taxbreak_kern_sum", "Kernels"))
    if any(result.operator_rows for result in results):
        listings.append(html_tables.listing(results, titles, "taxbreak_op_sum", "Operators"))
    omitted += [f"{table['title']}: {table['more'].rstrip('.')}" for table in listings if table["more"]]
    data["flames"] = html_details.flames(results)
    plotly_js, js = get_plotlyjs(), _text("page.js")
    reports = [_report(result, title) for result, title in zip(results, titles, strict=True)]
    keys = {part[0] for stack in data["stacks"] for part in stack["parts"]} | {"device"}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_text("page.html.j2")).render(
        heading=", ".join(titles) if len(titles) < 4 else f"{len(titles)} reports",
        policy=_policy(plotly_js, js),
        css=_text("page.css"),
        js=js,
        plotly=_packed(plotly_js),
        levers=html_details.lever_rows(results, titles),
        differences=differences,
        flames=data["flames"],
        data=embedded(data),
        reports=reports,
        layers=html_tables.layers(results, titles),
        legend=[(TITLES[key], COLOURS[key]) for key in TITLES if key in keys],
        tables=listings,
        warnings=sum(len(report["warnings"]) for report in reports),
        omitted=omitted,
        version=__version__,
        plotly_version=getattr(plotly, "__version__", ""),
    )


def _titles(results: Sequence[Result]) -> list[str]:
    """Return a short name per report: its file name, with its folder if the file names are equal."""
    paths = [Path(result.report.path) for result in results]
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]


def _report(result: Result, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "machine": html_tables.machine(result),
        "cards": _cards(result),
        "gaps": html_details.sentences(result),
        "evidence": html_tables.evidence_rows(result),
        "outside": html_tables.outside(result),
        "t_sys": html_tables.t_sys(result),
        "warnings": result.report.warnings,
        "sha256": result.report.sha256,
    }


def _cards(result: Result) -> list[dict[str, Any]]:
    """Return one card per phase; the card of a phase on several threads contains a card for each thread."""
    cards: list[dict[str, Any]] = []
    for entry in result.entries:
        several = sum(other.phase == entry.phase for other in result.entries) > 1
        if not several or entry.combined:
            threads = [
                html_tables.card(other, result)
                for other in result.entries
                if several and other.phase == entry.phase and not other.combined
            ]
            cards.append(html_tables.card(entry, result) | {"threads": threads})
    return cards


def embedded(data: Any) -> str:
    """Return JSON that is safe inside a script element: no character in it can end the element or a line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # a broken name can contain a lone surrogate, which UTF-8 cannot encode
    return text.encode("utf-8", "replace").decode()


def _packed(script: str) -> str:
    """Return a script compressed with gzip and encoded as base64: a third of its size, and safe inside an element."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def _policy(*scripts: str) -> str:
    """Return the Content-Security-Policy: only these scripts (by hash), inline styles, no network requests."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _text(name: str) -> str:
    return (files("taxbreak_nsys.output.html") / name).read_text(encoding="utf-8")
