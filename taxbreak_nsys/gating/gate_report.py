"""Judgements of rules as a table, JSON, Markdown, JUnit XML, and for GitHub Actions."""

from __future__ import annotations

import dataclasses
import os
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.gating.judging import BROKEN, EXIT_CODES, HELD, NO_BASELINE, NOT_JUDGED, Judgement, exit_code
from taxbreak_nsys.output.console import printable, text_console
from taxbreak_nsys.output.csv_text import rows_to_csv
from taxbreak_nsys.output.json_text import json_document
from taxbreak_nsys.output.markdown import code, markdown_table, plain
from taxbreak_nsys.output.plain_rows import console_text, plain_table
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import Result

SCHEMA = "taxbreak-gate/2"
_TITLES = {"rule": "Rule", "value": "Value", "limit": "Limit", "verdict": "Verdict", "reason": "Reason", "note": "Note"}
_STYLES = {HELD: "green", BROKEN: "red", NOT_JUDGED: "yellow", NO_BASELINE: "yellow"}
_SIGNS = {HELD: "✅", BROKEN: "❌", NOT_JUDGED: "⚠️", NO_BASELINE: "🆕"}


def render_gate(results: Sequence[Result], judgements: Sequence[Judgement], format: str, unit: str | None) -> str:
    """Return the judgements as text in `format`; `results` is one report, or several reports that form one side."""
    rows: list[dict[str, Any]] = [dataclasses.asdict(judged) for judged in judgements]
    if format == "json":
        reports = [{"path": result.report.path, "sha256": result.report.sha256} for result in results]
        head = {"report": reports[0]} if len(reports) == 1 else {"reports": reports}
        return json_document({"schema": SCHEMA} | head | {"exit_code": exit_code(judgements), "rules": rows})
    if format == "csv":
        return rows_to_csv(rows, _TITLES)
    if format == "markdown":
        return _markdown(results, judgements, unit)
    console = text_console()
    for result in results:
        console.print(printable(result.report.path), style="bold")
    table = plain_table("Verdict", "Value", "Limit")
    table.add_column("Rule", overflow="fold")
    for judged in judgements:
        sides = (_shown(judged, side, unit) for side in (judged.value, judged.limit))
        table.add_row(judged.verdict, *sides, printable(judged.rule), style=_STYLES[judged.verdict])
    console.print(table)
    for judged in judgements:
        if judged.reason is not None:
            console.print(printable(f"{judged.verdict}: {judged.rule}: {judged.reason}"))
        elif judged.note is not None:
            console.print(printable(f"{judged.rule}: {judged.note}"))
    return console_text(console)


def _markdown(results: Sequence[Result], judgements: Sequence[Judgement], unit: str | None) -> str:
    names = ", ".join(code(Path(result.report.path).name) for result in results)
    count = sum(judged.verdict == HELD for judged in judgements)
    rows = [
        (f"{_SIGNS[judged.verdict]} {judged.verdict}", code(judged.rule), plain(judged.reason or judged.note or ""),
         _shown(judged, judged.value, unit), _shown(judged, judged.limit, unit))
        for judged in judgements
    ]  # fmt: skip
    table = markdown_table(("Verdict", "Rule", "", "Value", "Limit"), rows, texts=3)
    return f"### TaxBreak gate: {names}\n\n{count} of {len(judgements)} rules hold.\n\n{table}"


def _shown(judged: Judgement, value: float | None, unit: str | None) -> str:
    if value is None:
        return "-"
    return show_time(round(value), unit) if judged.in_ns else f"{value:.4g}"


def _sentence(judged: Judgement) -> str:
    if judged.verdict in (NOT_JUDGED, NO_BASELINE):
        return f"{judged.rule}: {judged.verdict}, {judged.reason}"
    value, limit = (_shown(judged, side, None) for side in (judged.value, judged.limit))
    note = f" ({judged.note})" if judged.note else ""
    return f"{judged.rule}: {judged.verdict}, {value} against {limit}{note}"


_LEVELS = {BROKEN: "error", NOT_JUDGED: "error", NO_BASELINE: "notice"}


def github_annotations(judgements: Sequence[Judgement]) -> str:
    """Return one GitHub Actions workflow command (`::error …`, `::notice …`) per rule that did not hold."""
    lines = [
        f"::{_LEVELS[judged.verdict]} title=taxbreak-nsys gate::{_escaped(_sentence(judged))}"
        for judged in judgements
        if judged.verdict != HELD
    ]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def write_junit(results: Sequence[Result], judgements: Sequence[Judgement], path: Path) -> None:
    """Write JUnit XML: one test case per rule; a broken rule is a failure, a rule that was not judged an error."""
    count = {verdict: str(sum(judged.verdict == verdict for judged in judgements)) for verdict in (BROKEN, NOT_JUDGED)}
    totals = {"tests": str(len(judgements)), "failures": count[BROKEN], "errors": count[NOT_JUDGED]}
    suites = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "taxbreak-nsys gate", "time": "0", **totals})
    for judged in judgements:
        names = {
            "classname": _xml(", ".join(result.report.path for result in results)),
            "name": _xml(judged.rule),
            "time": "0",
        }
        case = ElementTree.SubElement(suite, "testcase", names)
        if EXIT_CODES[judged.verdict]:
            kind = "failure" if judged.verdict == BROKEN else "error"
            ElementTree.SubElement(case, kind, {"message": _xml(_sentence(judged)), "type": judged.verdict})
    ElementTree.indent(suites)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _xml(text: str) -> str:
    """Return text with the characters that XML 1.0 forbids replaced."""
    return "".join(
        c if c in "\t\n" or (c.isprintable() and ord(c) < 0x110000) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def print_annotations(judgements: Sequence[Judgement], *, on_stdout: bool) -> None:
    """Print the annotations on stdout, or on stderr if standard output carries data."""
    (sys.stdout if on_stdout else sys.stderr).write(github_annotations(judgements))


def append_step_summary(results: Sequence[Result], judgements: Sequence[Judgement], unit: str | None) -> None:
    """Append the judgements as Markdown to the file that $GITHUB_STEP_SUMMARY names; do nothing if it is not set.

    Raises TaxbreakError if the file cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as summary:
            summary.write(_markdown(results, judgements, unit) + "\n")
    except OSError as error:
        raise TaxbreakError(f"{path}: the step summary cannot be written ({error.strerror})") from error
