"""Judgements of rules as a table, JSON, JUnit XML and GitHub annotations."""

from __future__ import annotations

import dataclasses
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.gate.judging import BROKEN, HELD, NOT_JUDGED, Judgement, exit_code
from taxbreak_nsys.output.csv_text import rows_to_csv
from taxbreak_nsys.output.json_text import json_document
from taxbreak_nsys.output.plain_rows import console_text, plain_table
from taxbreak_nsys.output.text_report import printable, text_console
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import Result

SCHEMA = "taxbreak-gate/2"
_TITLES = {"rule": "Rule", "value": "Value", "limit": "Limit", "verdict": "Verdict", "reason": "Reason"}
_STYLES = {HELD: "green", BROKEN: "red", NOT_JUDGED: "yellow"}


def render_gate(result: Result, judgements: Sequence[Judgement], format: str, unit: str | None) -> str:
    """Return the judgements in a format."""
    rows: list[dict[str, Any]] = [dataclasses.asdict(judged) for judged in judgements]
    if format == "json":
        report = {"path": result.report.path, "sha256": result.report.sha256}
        return json_document({"schema": SCHEMA, "report": report, "exit_code": exit_code(judgements), "rules": rows})
    if format == "csv":
        return rows_to_csv(rows, _TITLES)
    console = text_console()
    console.print(printable(result.report.path), style="bold")
    table = plain_table("Verdict", "Value", "Limit")
    table.add_column("Rule", overflow="fold")
    for judged in judgements:
        sides = (_shown(judged, side, unit) for side in (judged.value, judged.limit))
        table.add_row(judged.verdict, *sides, printable(judged.rule), style=_STYLES[judged.verdict])
    console.print(table)
    for judged in judgements:
        if judged.reason is not None:
            console.print(printable(f"not judged: {judged.rule}: {judged.reason}"))
    return console_text(console)


def _shown(judged: Judgement, value: float | None, unit: str | None) -> str:
    if value is None:
        return "-"
    return show_time(round(value), unit) if judged.in_ns else f"{value:.4g}"


def _sentence(judged: Judgement) -> str:
    if judged.verdict == NOT_JUDGED:
        return f"{judged.rule}: not judged, {judged.reason}"
    value, limit = (_shown(judged, side, None) for side in (judged.value, judged.limit))
    return f"{judged.rule}: {judged.verdict}, {value} against {limit}"


def github_annotations(judgements: Sequence[Judgement]) -> str:
    """Return a workflow command of GitHub Actions for each rule that did not hold."""
    lines = [
        f"::error title=taxbreak-nsys gate::{_escaped(_sentence(judged))}"
        for judged in judgements
        if judged.verdict != HELD
    ]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def write_junit(result: Result, judgements: Sequence[Judgement], path: Path) -> None:
    """Write JUnit XML: a test case per rule, a failure where it is broken, an error where it was not judged."""
    count = {verdict: str(sum(judged.verdict == verdict for judged in judgements)) for verdict in (BROKEN, NOT_JUDGED)}
    totals = {"tests": str(len(judgements)), "failures": count[BROKEN], "errors": count[NOT_JUDGED]}
    suites = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "taxbreak-nsys gate", "time": "0", **totals})
    for judged in judgements:
        names = {"classname": _xml(result.report.path), "name": _xml(judged.rule), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", names)
        if judged.verdict != HELD:
            kind = "failure" if judged.verdict == BROKEN else "error"
            ElementTree.SubElement(case, kind, {"message": _xml(_sentence(judged)), "type": judged.verdict})
    ElementTree.indent(suites)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _xml(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold."""
    return "".join(
        c if c in "\t\n" or (c.isprintable() and ord(c) < 0x110000) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def print_annotations(judgements: Sequence[Judgement], *, on_stdout: bool) -> None:
    """Print the annotations, on stderr where standard output is data."""
    (sys.stdout if on_stdout else sys.stderr).write(github_annotations(judgements))
