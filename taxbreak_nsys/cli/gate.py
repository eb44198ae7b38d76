"""`taxbreak-nsys gate REPORT --rule …`: fail a build where a figure has gone bad."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options

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
    allow_different: Annotated[
        bool,
        typer.Option("--allow-different", help="Judge against a baseline of another GPU, model or trace as well."),
    ] = False,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Check rules over a report's figures; exit code 0: all hold, 1: one is broken, 2: one cannot be judged.

    Example: taxbreak-nsys gate run.sqlite --rule 'decode.wall_ns_per_step <= 1.05 * baseline' --baseline main.json
    """
    from taxbreak_nsys.compare.comparability import conditions_of, not_comparable
    from taxbreak_nsys.gate import gate_report as shown
    from taxbreak_nsys.gate.judging import exit_code, judge_rules
    from taxbreak_nsys.gate.metric_sources import find_rules
    from taxbreak_nsys.gate.metrics import baseline_data, is_store, metrics_of_json, store_baseline
    from taxbreak_nsys.output.output_files import check_target, put_text, write_whole
    from taxbreak_nsys.pipeline.analysis import analyze_report

    shared_options.check_choice("--format", format, FORMATS)
    shared_options.check_unit(timeunit)
    for target in (output, junit):
        if target is not None:
            check_target(target, force_overwrite)
    asked, named = find_rules(rule or (), rules, Path.cwd())
    options = shared_options.analysis_options(phase, start, end, process, thread, t_sys, null_report, evidence, skip)
    source = baseline or (str(named) if named else None)
    result = analyze_report(report, options)
    own = result.to_dict()
    held, different = None, list[str]()
    if source is not None and any(one.needs_baseline for one in asked):
        if is_store(source):
            data = store_baseline(source, result.report.sha256)
        elif source.endswith((".sqlite", ".nsys-rep")):
            data = analyze_report(source, options).to_dict()
        else:
            data = baseline_data(Path(source))
        held = metrics_of_json(data, Path(source))
        different = not_comparable(conditions_of(data), conditions_of(own))
    if different and allow_different and not quiet:
        print(f"judged all the same, though the baseline differs: {'; '.join(different)}", file=sys.stderr)
    figures = metrics_of_json(own, report)
    judgements = judge_rules(asked, figures, held, () if allow_different else different)
    put_text(shown.render_gate(result, judgements, format, timeunit), output, force=force_overwrite)
    if junit is not None:
        write_whole(junit, lambda path: shown.write_junit(result, judgements, path), force=force_overwrite)
    if github:
        shown.print_annotations(judgements, on_stdout=format == "table" or output is not None)
    if not quiet:
        for target in (output, junit):
            if target is not None:
                print(f"wrote {target}", file=sys.stderr)
    raise typer.Exit(exit_code(judgements))
