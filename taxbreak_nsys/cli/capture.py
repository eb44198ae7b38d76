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

SERVER = "A server that runs"


def capture(
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="The program to profile, after --.", show_default=False),
    ] = None,
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
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="NAME", rich_help_panel=SERVER,
                     help="Start the program under nsys without recording it; --attach records it."),
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option("--attach", metavar="NAME", rich_help_panel=SERVER,
                     help="Record a program that was started with --session, with the same --evidence."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.1, rich_help_panel=SERVER,
                     help="How long --attach records; default: until Ctrl-C."),
    ] = None,
    nsys_option: Annotated[
        list[str] | None,
        typer.Option("--nsys", metavar="OPTION",
                     help="One more option of nsys, as --nsys=--trace-fork-before-exec=true; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the nsys command and run nothing.")] = False,
    phase: PhaseRules = None,
    written: WritingChoices,
) -> None:  # fmt: skip
    """Profile a program with the nsys options that the chosen evidence needs, export the report and analyse it.

    Example: taxbreak-nsys capture --evidence ranges -o run -- python generate.py
    """
    import shlex

    _check_use(command, session, attach, seconds)
    in_session = session is not None or attach is not None
    program, extra = command or [], nsys_option or []

    from taxbreak_nsys.arrays.numpy_environment import unset_for_children
    from taxbreak_nsys.capture import nsys_command as capturing
    from taxbreak_nsys.capture import nsys_session
    from taxbreak_nsys.nsys.machine import sampling_problem
    from taxbreak_nsys.nsys.nsys_program import Nsys
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.output import text_report
    from taxbreak_nsys.output.result_tables import DEFAULT_REPORT
    from taxbreak_nsys.pipeline.analysis import analyze_report

    unset_for_children()  # the profiled program gets the user's environment
    rules = parse_phase_rules(phase)
    nsys = Nsys.require()
    plan = capturing.plan(
        nsys, evidence.value, output or Path(f"taxbreak_{evidence}"), [] if in_session else program,
        engine=engine.value if engine else None, capture_range=capture_range, extra=[] if in_session else extra,
        force=written.force_overwrite,
    )  # fmt: skip

    def note(message: str) -> None:
        if not written.quiet:
            print(f"note: {message}", file=sys.stderr)

    for message in plan.notes:
        note(message)
    if capturing.EVIDENCES[evidence.value].samples and (problem := sampling_problem(nsys)):
        note(f"CPU sampling will not work here: {problem}")
    if session is not None:
        launch = nsys_session.launch_command(plan, session, program, extra)
        if dry_run:
            print(shlex.join(launch))
            return
        note(f"record it with: taxbreak-nsys capture --attach {session} --evidence {evidence} --seconds 10 -o NAME")
        raise typer.Exit(nsys_session.run_launch(launch))
    if dry_run and attach is None:
        print(shlex.join(plan.command))
        return
    status = 0
    if attach is not None:
        running = nsys_session.ready_session(nsys, attach)
        start = nsys_session.start_command(plan, running, extra)
        if dry_run:
            print(shlex.join(start))
            return
        capturing.check_targets(plan.report, written.force_overwrite)
        note(f"recording {running.name}" + (f" for {seconds:g} s" if seconds else ": Ctrl-C ends the recording"))
        nsys_session.record(start, plan.report, running, seconds)
    else:
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
        if attach is not None:
            raise TaxbreakError(nsys_session.no_cuda_message(attach, export)) from error
        raise TaxbreakError(capturing.no_cuda_message(plan, export)) from error
    sys.stdout.write(text_report.render_text(result, DEFAULT_REPORT, None))
    if status:
        raise typer.Exit(status)


def _check_use(command: list[str] | None, session: str | None, attach: str | None, seconds: float | None) -> None:
    """Raise TaxbreakError unless the options are those of one of: profile, start a session, record a session."""
    if attach is None and not command:
        raise TaxbreakError("Missing argument 'COMMAND...': the program to profile, after --")
    if attach is not None and (command or session is not None):
        raise TaxbreakError("--attach records a program that runs: give neither a COMMAND nor --session")
    if attach is None and seconds is not None:
        raise TaxbreakError("--seconds needs --attach")
