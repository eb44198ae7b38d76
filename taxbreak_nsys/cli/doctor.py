"""`taxbreak-nsys doctor [REPORT…]`: is this machine fit for capturing, and a report for each evidence?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from taxbreak_nsys.capture.environment_checks import Check


def doctor(
    reports: Annotated[
        list[Path] | None, typer.Argument(metavar="[REPORT...]", help="Reports to look at.", show_default=False)
    ] = None,
    format: Annotated[str, typer.Option("-f", "--format", help="table or json.")] = "table",
) -> None:
    """Check nsys and this machine, or, where reports are given, what each of them is fit for; exit code 1 says
    that something stands in the way.

    Example: taxbreak-nsys doctor run.nsys-rep
    """
    import json
    from dataclasses import asdict

    from taxbreak_nsys.capture.environment_checks import PROBLEM, check_machine, check_one_report
    from taxbreak_nsys.errors import TaxbreakError

    if format not in ("table", "json"):
        raise TaxbreakError(f"--format {format!r}: not one of table, json")
    groups = {str(path): check_one_report(path) for path in reports} if reports else {"machine": check_machine()}
    if format == "json":
        shown = {name: [asdict(finding) for finding in findings] for name, findings in groups.items()}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write("\n".join(_table(name, findings) for name, findings in groups.items()))
    if any(finding.state == PROBLEM for findings in groups.values() for finding in findings):
        raise typer.Exit(1)


def _table(name: str, findings: list[Check]) -> str:
    import shutil
    import textwrap

    from taxbreak_nsys.output.text_report import printable

    width = max(60, min(shutil.get_terminal_size((80, 24)).columns, 120))
    subjects = max(len(finding.subject) for finding in findings)
    lines = [printable(name)]
    for finding in findings:
        head = f"  {finding.state:8}{finding.subject:{subjects}}  "
        rest = " " * len(head)
        lines += textwrap.wrap(printable(finding.message), width, initial_indent=head, subsequent_indent=rest)
        if finding.remedy:
            # not wrapped: it is there to be copied
            lines.append(f"{rest}remedy: {printable(finding.remedy)}")
    return "\n".join(lines) + "\n"
