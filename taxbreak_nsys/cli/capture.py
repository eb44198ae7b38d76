"""`taxbreak-nsys capture -- COMMAND…`: profile a program with the right options, export, analyse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options


def capture(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program to profile, after --.", show_default=False)
    ],
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="NAME", help="What to capture for: ranges, samples, operators, "
                          "launch-chains or light.")
    ] = "ranges",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="NAME", help="The report's name; taxbreak_<evidence> if not given.",
                     show_default=False),
    ] = None,
    capture_range: Annotated[
        str | None,
        typer.Option("-c", "--capture-range", metavar="RANGE", help="Where the program marks what to capture: "
                     "cudaProfilerApi, or nvtx:RANGE[@DOMAIN].", show_default=False),
    ] = None,
    nsys_option: Annotated[
        list[str] | None,
        typer.Option("--nsys", metavar="OPTION", help="A further option of 'nsys profile', as in "
                     "--nsys=--trace-fork-before-exec=true; repeatable.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the nsys command and run nothing.")] = False,
    phase: shared_options.Phases = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Run a program under nsys with what an evidence needs, export the report, and analyse it.

    Example: taxbreak-nsys capture --evidence ranges -o run -- python generate.py
    """
    import shlex

    from taxbreak_nsys.capture import nsys_command as capturing
    from taxbreak_nsys.nsys.machine import sampling_problem
    from taxbreak_nsys.nsys.nsys_program import Nsys
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.output import text_report
    from taxbreak_nsys.output.result_tables import DEFAULT_REPORT
    from taxbreak_nsys.phases import PhaseRule
    from taxbreak_nsys.pipeline.analysis import analyze_report

    rules = tuple(PhaseRule.parse(rule) for rule in phase or ())
    nsys = Nsys.require()
    plan = capturing.plan(
        nsys, evidence, output or Path(f"taxbreak_{evidence}"), command,
        capture_range=capture_range, extra=nsys_option or (), force=force_overwrite,
    )  # fmt: skip

    def note(message: str) -> None:
        if not quiet:
            print(f"note: {message}", file=sys.stderr)

    for message in plan.notes:
        note(message)
    if capturing.EVIDENCES[evidence].samples and (problem := sampling_problem(nsys)):
        note(f"CPU sampling will not work here: {problem}")
    if dry_run:
        print(shlex.join(plan.command))
        return
    capturing.check_targets(plan.report, force_overwrite)
    status = capturing.run_plan(plan)
    if status:
        note(f"the program ended with status {status}")
    export = capturing.export_report(nsys, plan.report)
    note(f"wrote {plan.report} and {export}")
    sys.stdout.write(text_report.render_text(analyze_report(export, Options(rules)), DEFAULT_REPORT, None))
    if status:
        raise typer.Exit(status)
