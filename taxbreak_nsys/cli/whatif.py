"""`taxbreak-nsys whatif REPORT`: what a faster layer, CPU or device would bring, before anyone builds it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError

FORMATS = ("table", "csv", "json")


def _factor(flag: str, of: str) -> typer.models.OptionInfo:
    return typer.Option(flag, metavar="FACTOR", help=f"Multiply {of} by this: 0.5 is half.", show_default=False)


def whatif(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A .sqlite export or a .nsys-rep.")],
    framework: Annotated[str | None, _factor("--framework", "framework time")] = None,
    library: Annotated[str | None, _factor("--library", "CUDA library time")] = None,
    launch: Annotated[str | None, _factor("--launch", "the time of launch calls")] = None,
    kernels: Annotated[str | None, _factor("--kernels", "kernel time")] = None,
    copies: Annotated[str | None, _factor("--copies", "the time of copies and sets")] = None,
    cpu: Annotated[
        str | None, typer.Option("--cpu", metavar="SPEED", help="A CPU this many times as fast.", show_default=False)
    ] = None,
    framework_minus: Annotated[
        str | None,
        typer.Option("--framework-minus", metavar="TIME", help="Take TIME off the framework before each launch.",
                     show_default=False),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="REGEX", help="…before launches of these kernels alone.", show_default=False),
    ] = None,
    graphs: Annotated[bool, typer.Option("--graphs", help="Launch each step as one CUDA graph.")] = False,
    graph_launch: Annotated[
        str | None,
        typer.Option("--graph-launch", metavar="TIME", help="What a graph launch takes (T_sys and 200 ns a node).",
                     show_default=False),
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Draw the curve of every lever.")] = False,
    format: Annotated[str, typer.Option("-f", "--format", help="table, csv or json.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    timeunit: shared_options.TimeUnit = None,
    phase: shared_options.Phases = None,
    start: shared_options.Start = None,
    end: shared_options.End = None,
    process: shared_options.Process = None,
    thread: shared_options.Thread = None,
    t_sys: shared_options.TSys = None,
    null_report: shared_options.NullReport = None,
    evidence: shared_options.Evidence = None,
    skip: shared_options.Skip = 0,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Predict wall time, device idle time and HDBI after a change; without a change, rank what each would bring.

    Example: taxbreak-nsys whatif llama.sqlite --framework 0.5 --kernels 0.8
    """
    from taxbreak_nsys.output import whatif_report as shown
    from taxbreak_nsys.output.output_files import check_target, put_text
    from taxbreak_nsys.pipeline.analysis import measure_report
    from taxbreak_nsys.replay.prediction import Replay
    from taxbreak_nsys.replay.scenarios import Scenario
    from taxbreak_nsys.replay.sweep import rank_levers, speeds_to_bound
    from taxbreak_nsys.replay.sweep import sweep_levers as sweep_levers

    shared_options.check_choice("--format", format, FORMATS)
    shared_options.check_unit(timeunit)
    if output is not None:
        check_target(output, force_overwrite)
    factors = {"framework": framework, "library": library, "launch": launch, "kernels": kernels, "copies": copies}
    scenario = Scenario(
        **{
            name: shared_options.parse_number(text, f"--{name}")
            for name, text in (factors | {"cpu": cpu}).items()
            if text
        },
        framework_minus_ns=shared_options.parse_time(framework_minus, "--framework-minus") if framework_minus else 0,
        before=before,
        graphs=graphs,
        graph_launch_ns=shared_options.parse_time(graph_launch, "--graph-launch") if graph_launch else None,
    )
    if before is not None and not framework_minus:
        raise TaxbreakError("--before says where --framework-minus applies; give both")
    if graph_launch is not None and not graphs:
        raise TaxbreakError("--graph-launch says what a launch of --graphs takes; give both")
    if sweep and not scenario.unchanged:
        raise TaxbreakError("--sweep draws every lever by itself; leave the others out")
    options = shared_options.analysis_options(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    replay = Replay(*measure_report(report, options))
    if sweep:
        text = shown.sweep_report(replay, sweep_levers(replay), speeds_to_bound(replay), format, timeunit)
    elif scenario.unchanged and not _asked(factors | {"cpu": cpu}):
        text = shown.ranking_report(replay, rank_levers(replay), format, timeunit)
    else:
        text = shown.prediction(replay, scenario, replay.predict(scenario), format, timeunit)
    put_text(text, output, force=force_overwrite)
    if output is not None and not quiet:
        print(f"wrote {output}", file=sys.stderr)


def _asked(given: dict[str, str | None]) -> bool:
    """Tell whether any factor was given: all of them 1 asks for the unchanged replay."""
    return any(text is not None for text in given.values())
