"""`taxbreak-nsys gate REPORT --rule …`: fail a build where a figure has gone bad."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.commands import arguments

FORMATS = ("table", "csv", "json")


def gate(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A .sqlite export or a .nsys-rep.")],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="RULE", help="As 'decode.hdbi >= 0.2'; repeatable.", show_default=False),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="A TOML file with rules (default: pyproject.toml here).",
                     show_default=False),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="FILE|STORE", help="JSON that this program wrote, a report, or the newest "
                     "capture of a results store: taxbreak.db#model=llama.", show_default=False),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML too.", show_default=False)
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions too.")] = False,
    format: Annotated[str, typer.Option("-f", "--format", help="table, csv or json.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    timeunit: arguments.TimeUnit = None,
    phase: arguments.Phases = None,
    start: arguments.Start = None,
    end: arguments.End = None,
    process: arguments.Process = None,
    thread: arguments.Thread = None,
    t_sys: arguments.TSys = None,
    null_report: arguments.NullReport = None,
    evidence: arguments.Evidence = None,
    skip: arguments.Skip = 0,
    force_overwrite: arguments.Force = False,
    quiet: arguments.Quiet = False,
) -> None:  # fmt: skip
    """Check rules over a report's figures; exit code 0: all hold, 1: one is broken, 2: one cannot be judged.

    Example: taxbreak-nsys gate run.sqlite --rule 'decode.wall_ns_per_step <= 1.05 * baseline' --baseline main.json
    """
    from taxbreak_nsys.analysis import analyze
    from taxbreak_nsys.gate.figures import figures_of, is_store, read_baseline, read_store_baseline
    from taxbreak_nsys.gate.judge import exit_code, judge
    from taxbreak_nsys.gate.sources import find_rules
    from taxbreak_nsys.output import gate as shown
    from taxbreak_nsys.output.files import check_target, put_text, write_whole

    arguments.check_choice("--format", format, FORMATS)
    arguments.check_unit(timeunit)
    for target in (output, junit):
        if target is not None:
            check_target(target, force_overwrite)
    asked, named = find_rules(rule or (), rules, Path.cwd())
    options = arguments.options_of(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    source = baseline or (str(named) if named else None)
    result = analyze(report, options)
    held = None
    if source is not None and any(one.needs_baseline for one in asked):
        if is_store(source):
            held = read_store_baseline(source, result.report.sha256)
        elif source.endswith((".sqlite", ".nsys-rep")):
            held = figures_of(analyze(source, options))
        else:
            held = read_baseline(Path(source))
    judgements = judge(asked, figures_of(result), held)
    put_text(shown.render(result, judgements, format, timeunit), output, force=force_overwrite)
    if junit is not None:
        write_whole(junit, lambda path: shown.write_junit(result, judgements, path), force=force_overwrite)
    if github:
        shown.print_annotations(judgements, on_stdout=format == "table" or output is not None)
    if not quiet:
        for target in (output, junit):
            if target is not None:
                print(f"wrote {target}", file=sys.stderr)
    raise typer.Exit(exit_code(judgements))
