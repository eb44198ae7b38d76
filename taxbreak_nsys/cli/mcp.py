"""`taxbreak-nsys mcp`: serve the reports of a folder to an assistant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.errors import TaxbreakError

LIMITS = "Limits per call"


def mcp(
    *,
    root: Annotated[
        Path, typer.Option("--root", metavar="FOLDER", help="Serve the reports below FOLDER, and nothing else.")
    ] = Path("."),
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time of one call.", rich_help_panel=LIMITS)] = 120,
    memory: Annotated[
        float, typer.Option("--memory", metavar="GB", min=0.5, help="Memory of one call.", rich_help_panel=LIMITS)
    ] = 4,
    answer_bytes: Annotated[
        int, typer.Option("--answer-bytes", min=2000, help="Size of one answer.", rich_help_panel=LIMITS)
    ] = 24_000,
    calls: Annotated[
        int, typer.Option("--calls", min=1, help="Calls that run at once; others wait.", rich_help_panel=LIMITS)
    ] = 2,
    skill: Annotated[bool, typer.Option("--skill", help="Print the SKILL.md for an assistant and end.")] = False,
) -> None:
    """Serve the reports of a folder to an assistant, read-only, over MCP on standard input and output.

    Example: taxbreak-nsys mcp --root ~/captures
    """
    from taxbreak_nsys.agent.reference_texts import reference_text

    if skill:
        typer.echo(reference_text("skill"), nl=False)
        return
    from taxbreak_nsys.agent.report_root import ReportRoot

    reports = ReportRoot(root.expanduser())
    try:
        from taxbreak_nsys.agent.mcp_server import build_server
    except ModuleNotFoundError as error:
        raise TaxbreakError("the MCP server needs the package mcp; pip install 'taxbreak-nsys[mcp]'") from error
    from taxbreak_nsys.agent.tool_call import Limits

    limits = Limits(seconds=seconds, memory=int(memory * 1e9), answer_bytes=answer_bytes, calls=calls)
    build_server(reports, limits).run("stdio")
