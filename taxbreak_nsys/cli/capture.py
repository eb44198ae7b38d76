"""`taxbreak-nsys capture -- COMMAND…`: profile a program with the right options, export, analyse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import OUTPUT, PhaseRules, WritingChoices, parse_phase_rules
from taxbreak_nsys.errors import NoCudaWorkError, TaxbreakError
from taxbreak_nsys.model.choices import CaptureEngine, CaptureFor
from taxbreak_nsys.model.current_work import working


def capture(
    *,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program to profile, after --.", show_default=False)
    ],
    evidence: Annotated[
        CaptureFor,
        typer.Option("--evidence", metavar="NAME", help=f"What to record: {', '.join(CaptureFor)}."),
    ] = CaptureFor.RANGES,
    engine: Annotated[
        CaptureEngine | None,
        typer.Option("--engine", metavar="NAME",
                     help=f"Set nsys and the engine's marks up for {', '.join(CaptureEngine)}."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="NAME", rich_help_panel=OUTPUT,
                     help="Name of the report; default: taxbreak_<evidence>."),
    ] = None,
    capture_range: Annotated[
        str | None,
        typer.Option("-c", "--capture-range", metavar="RANGE",
                     help="Where the program marks what to capture: cudaProfilerApi, or nvtx:RANGE[@DOMAIN]."),
    ] = None,
    nsys_option: Annotated[
        list[str] | None,
        typer.Option("--nsys", metavar="OPTION",
                     help="One more option of 'nsys profile', as --nsys=--trace-fork-before-exec=true; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the nsys command and run nothing.")] = False,
    phase: PhaseRules = None,
    written: WritingChoices,
) -> None:  # fmt: skip
    """Profile a program with the nsys options that the chosen evidence needs, export the report and analyse it.

    Example: taxbreak-nsys capture --evidence ranges -o run -- python generate.py
    """
    import shlex

    from taxbreak_nsys.capture import nsys_command as capturing
    from taxbreak_nsys.nsys.machine import sampling_problem
    from taxbreak_nsys.nsys.nsys_program import Nsys
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.output import text_report
    from taxbreak_nsys.output.result_tables import DEFAULT_REPORT
    from taxbreak_nsys.pipeline.analysis import analyze_report

    rules = parse_phase_rules(phase)
    nsys = Nsys.require()
    plan = capturing.plan(
        nsys, evidence.value, output or Path(f"taxbreak_{evidence}"), command,
        engine=engine.value if engine else None, capture_range=capture_range, extra=nsys_option or (),
        force=written.force_overwrite,
    )  # fmt: skip

    def note(message: str) -> None:
        if not written.quiet:
            print(f"note: {message}", file=sys.stderr)

    for message in plan.notes:
        note(message)
    if capturing.EVIDENCES[evidence.value].samples and (problem := sampling_problem(nsys)):
        note(f"CPU sampling will not work here: {problem}")
    if dry_run:
        print(shlex.join(plan.command))
        return
    capturing.check_targets(plan.report, written.force_overwrite)
    status = capturing.run_plan(plan)
    if status:
        note(f"the program ended with status {status}")
    with working(f"exporting {plan.report.name}"):
        export = capturing.export_report(nsys, plan.report)
    note(f"wrote {plan.report} and {export}")
    try:
        result = analyze_report(export, Options(rules=rules))
    except NoCudaWorkError as error:
        raise TaxbreakError(capturing.no_cuda_message(plan, export)) from error
    sys.stdout.write(text_report.render_text(result, DEFAULT_REPORT, None))
    if status:
        raise typer.Exit(status)
