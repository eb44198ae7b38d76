"""`taxbreak-nsys gate REPORT --rule …`: fail a build if a metric breaks a rule."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.shared_options import (
    OUTPUT,
    AnalysisChoices,
    DocumentFormat,
    OutputChoices,
    TableChoices,
)
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import SummaryFormat


def gate(
    *,
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A report, or a folder of repeats or ranks.", show_default=False)
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="RULE", help="As 'decode.hdbi >= 0.2' or 'decode.wall_ns is not worse'; "
                     "repeatable."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="A TOML file with rules; default: pyproject.toml here."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="FILE|STORE", help="JSON that this program wrote, a report, a folder of "
                     "reports, or the newest capture of a results store: taxbreak.db#model=llama."),
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option("--update-baseline", help="Write the report as the new baseline after judging it; the first run "
                     "needs none."),
    ] = False,
    missing_baseline_ok: Annotated[
        bool,
        typer.Option("--missing-baseline-ok", help="Pass the rules that need a baseline while its file does not "
                     "exist, and say so."),
    ] = False,
    format: DocumentFormat = SummaryFormat.TABLE,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, too.", rich_help_panel=OUTPUT)
    ] = None,
    github: Annotated[
        bool,
        typer.Option("--github", help="Print annotations and write the step summary of GitHub Actions, too.",
                     rich_help_panel=OUTPUT),
    ] = False,
    allow_different: Annotated[
        bool,
        typer.Option("--allow-different", help="Judge against a baseline of another GPU, model or trace as well."),
    ] = False,
    tables: TableChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Check rules over a report's metrics; exit code 0: all hold, 1: one is broken, 2: one cannot be judged.

    Example: taxbreak-nsys gate run.sqlite --rule 'decode.wall_ns_per_step <= 1.05 * baseline' --baseline main.json
    """
    from taxbreak_nsys.comparison.comparability import capture_conditions, not_comparable
    from taxbreak_nsys.gating import gate_report
    from taxbreak_nsys.gating.all_rules import judge_rules
    from taxbreak_nsys.gating.judging import exit_code
    from taxbreak_nsys.gating.metric_sources import find_rules
    from taxbreak_nsys.gating.side_sources import analyze_side, load_baseline
    from taxbreak_nsys.gating.sides import baseline_text, side_of_results
    from taxbreak_nsys.output.output_files import check_target, put_text, write_whole
    from taxbreak_nsys.read.input_files import kept_inputs

    written.check()
    if junit is not None:
        check_target(junit, written.force_overwrite)
    parsed, named_baseline = find_rules(rule or (), rules, Path.cwd())
    options = analysis.options()
    source = baseline or (str(named_baseline) if named_baseline else None)
    target = _baseline_file(source) if update_baseline else None
    if target is not None and target in (written.output, junit):
        raise TaxbreakError(f"{target}: would be both the baseline and an output; name another file")
    first_run = source is not None and (update_baseline or missing_baseline_ok) and not _exists(source)
    results = analyze_side(report, options, hashed=True)
    needed = not first_run and any(one_rule.needs_baseline for one_rule in parsed)
    compared = None
    if source is not None and needed:
        # Only --update-baseline may overwrite the baseline that it read.
        with kept_inputs() if update_baseline else nullcontext():
            compared = load_baseline(source, options, results[0].report)
    side = side_of_results(results)
    different: list[str] = []
    if compared is not None and compared.report is not None and side.report is not None:
        different = not_comparable(capture_conditions(compared.report), capture_conditions(side.report))
    if different and allow_different and not written.quiet:
        print(f"judged all the same, though the baseline differs: {'; '.join(different)}", file=sys.stderr)
    judgements = judge_rules(
        parsed, side, compared, first_baseline=first_run, different=() if allow_different else different
    )
    if first_run and not written.quiet:
        print(f"note: no baseline yet: {source}{' is written now' if target else ' does not exist'}", file=sys.stderr)
    text = gate_report.render_gate(results, judgements, format, tables.timeunit)
    put_text(text, written.output, force=written.force_overwrite)
    if junit is not None:
        write_whole(
            junit, lambda path: gate_report.write_junit(results, judgements, path), force=written.force_overwrite
        )
    if target is not None:
        new = baseline_text(results)
        write_whole(target, lambda path: path.write_text(new, encoding="utf-8"), force=True)
    if github:
        on_stdout = format == SummaryFormat.TABLE or written.output is not None
        gate_report.print_annotations(judgements, on_stdout=on_stdout)
        gate_report.append_step_summary(results, judgements, tables.timeunit)
    for file in (written.output, junit, target):
        if file is not None and not written.quiet:
            print(f"wrote {file}", file=sys.stderr)
    raise typer.Exit(exit_code(judgements))


def _baseline_file(source: str | None) -> Path:
    """Return the file that `--update-baseline` writes; raises TaxbreakError if the baseline is no JSON file."""
    from taxbreak_nsys.gating.metrics import is_store

    if source is None:
        raise TaxbreakError("--update-baseline writes the file that --baseline or the rules name; name one")
    path = Path(source)
    if is_store(source) or path.is_dir() or path.suffix in (".sqlite", ".nsys-rep"):
        raise TaxbreakError(f"--update-baseline writes a JSON file, and {source} is not one; use --baseline NAME.json")
    return path


def _exists(source: str) -> bool:
    from taxbreak_nsys.gating.metrics import is_store

    return is_store(source) or Path(source).exists()
