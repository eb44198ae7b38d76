"""`taxbreak-nsys gate REPORT --rule …`: fail a build where a metric has become worse than a rule allows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import (
    OUTPUT,
    AnalysisChoices,
    DocumentFormat,
    OneReport,
    OutputChoices,
    TableChoices,
)
from taxbreak_nsys.model.choices import SummaryFormat

if TYPE_CHECKING:
    from taxbreak_nsys.gate.metrics import PhaseMetrics
    from taxbreak_nsys.options import Options


def gate(
    *,
    report: OneReport,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="RULE", help="As 'decode.hdbi >= 0.2'; repeatable.")
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="A TOML file with rules; default: pyproject.toml here."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="FILE|STORE", help="JSON that this program wrote, a report, or the newest "
                     "capture of a results store: taxbreak.db#model=llama."),
    ] = None,
    format: DocumentFormat = SummaryFormat.TABLE,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, too.", rich_help_panel=OUTPUT)
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations for GitHub Actions, too.", rich_help_panel=OUTPUT)
    ] = False,
    tables: TableChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Check rules over a report's metrics; exit code 0: all hold, 1: one is broken, 2: one cannot be judged.

    Example: taxbreak-nsys gate run.sqlite --rule 'decode.wall_ns_per_step <= 1.05 * baseline' --baseline main.json
    """
    from taxbreak_nsys.gate import gate_report
    from taxbreak_nsys.gate.judging import exit_code, judge_rules
    from taxbreak_nsys.gate.metric_sources import find_rules
    from taxbreak_nsys.gate.metrics import phase_metrics
    from taxbreak_nsys.output.output_files import check_target, put_text, write_whole
    from taxbreak_nsys.pipeline.analysis import analyze_report

    written.check()
    if junit is not None:
        check_target(junit, written.force_overwrite)
    parsed, named_baseline = find_rules(rule or (), rules, Path.cwd())
    options = analysis.options()
    source = baseline or (str(named_baseline) if named_baseline else None)
    result = analyze_report(report, options)
    needed = any(one_rule.needs_baseline for one_rule in parsed)
    compared = _baseline(source, options, result.report.sha256) if source is not None and needed else None
    judgements = judge_rules(parsed, phase_metrics(result), compared)
    text = gate_report.render_gate(result, judgements, format, tables.timeunit)
    put_text(text, written.output, force=written.force_overwrite)
    if junit is not None:
        write_whole(
            junit, lambda path: gate_report.write_junit(result, judgements, path), force=written.force_overwrite
        )
    if github:
        on_stdout = format == SummaryFormat.TABLE or written.output is not None
        gate_report.print_annotations(judgements, on_stdout=on_stdout)
    for target in (written.output, junit):
        if target is not None and not written.quiet:
            print(f"wrote {target}", file=sys.stderr)
    raise typer.Exit(exit_code(judgements))


def _baseline(source: str, options: Options, own_hash: str) -> dict[str, PhaseMetrics]:
    """Return the metrics of a baseline: a store's newest other capture, a report, or JSON that was written of one."""
    from taxbreak_nsys.gate.metrics import is_store, phase_metrics, read_baseline, read_store_baseline
    from taxbreak_nsys.pipeline.analysis import analyze_report

    if is_store(source):
        return read_store_baseline(source, own_hash)
    if source.endswith((".sqlite", ".nsys-rep")):
        return phase_metrics(analyze_report(source, options))
    return read_baseline(Path(source))
