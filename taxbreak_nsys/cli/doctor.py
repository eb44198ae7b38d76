"""`taxbreak-nsys doctor [REPORT…]`: check whether a machine can capture, and what a report can be used for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, AnalysisChoices
from taxbreak_nsys.model.choices import ChecksFormat

if TYPE_CHECKING:
    from taxbreak_nsys.capture.environment_checks import Check


def doctor(
    *,
    reports: Annotated[
        list[Path] | None, typer.Argument(metavar="[REPORT...]", help="Reports to check.", show_default=False)
    ] = None,
    format: Annotated[
        ChecksFormat, typer.Option("-f", "--format", help="Format of the output.", rich_help_panel=OUTPUT)
    ] = ChecksFormat.TABLE,
    analysis: AnalysisChoices,
) -> None:
    """Check nsys and this machine, or say what the given reports can be used for; exit code 1: there is a problem.

    Example: taxbreak-nsys doctor run.nsys-rep
    """
    import json
    from dataclasses import asdict

    from taxbreak_nsys.capture.environment_checks import PROBLEM, check_machine, check_one_report

    options = analysis.options()
    checks = (
        {str(path): check_one_report(path, options) for path in reports} if reports else {"machine": check_machine()}
    )
    if format == ChecksFormat.JSON:
        shown = {name: [asdict(check) for check in findings] for name, findings in checks.items()}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write("\n".join(_table(name, findings) for name, findings in checks.items()))
    if any(check.state == PROBLEM for findings in checks.values() for check in findings):
        raise typer.Exit(1)


def _table(name: str, findings: list[Check]) -> str:
    import shutil
    import textwrap

    from taxbreak_nsys.output.console import printable

    width = max(60, min(shutil.get_terminal_size((80, 24)).columns, 120))
    subjects = max(len(finding.subject) for finding in findings)
    lines = [printable(name)]
    for finding in findings:
        head = f"  {finding.state:8}{finding.subject:{subjects}}  "
        rest = " " * len(head)
        lines += textwrap.wrap(printable(finding.message), width, initial_indent=head, subsequent_indent=rest)
        if finding.remedy:
            # not wrapped, so that a command can be copied
            lines.append(f"{rest}remedy: {printable(finding.remedy)}")
    return "\n".join(lines) + "\n"
