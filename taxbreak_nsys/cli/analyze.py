"""`taxbreak-nsys [analyze] REPORT…`: analyse reports and show the result."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import (
    OUTPUT,
    AnalysisChoices,
    OutputChoices,
    RankChoices,
    SeveralReports,
)
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import ReportFormat, ReportName

if TYPE_CHECKING:
    from taxbreak_nsys.output.shown_rows import RowOrder
    from taxbreak_nsys.result import Result


def analyze(
    *,
    reports: SeveralReports,
    report: Annotated[
        list[ReportName] | None,
        typer.Option("-r", "--report", metavar="NAME", rich_help_panel=OUTPUT,
                     help=f"What to show, repeatable: {', '.join(ReportName)}; default: {ReportName.SUM}."),
    ] = None,
    format: Annotated[
        ReportFormat,
        typer.Option("-f", "--format", rich_help_panel=OUTPUT,
                     help="Format of the output; parquet needs -o; speedscope and collapsed are flame graphs of "
                     "taxbreak_call_sum."),
    ] = ReportFormat.TABLE,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", min=1, help="Only the first N rows of a table.", rich_help_panel=OUTPUT),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", metavar="N", min=1, rich_help_panel=OUTPUT,
                     help="taxbreak_nvtx_sum, taxbreak_call_sum: only N levels; level N includes all deeper ones."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN", rich_help_panel=OUTPUT,
                     help="Order the rows of a table by a column, as 'Total Time'; numbers largest first."),
    ] = None,
    sha256: Annotated[
        bool,
        typer.Option("--sha256", rich_help_panel=OUTPUT,
                     help="The SHA-256 of each report as well (JSON: report.sha256); reads the whole file."),
    ] = False,
    tables: RankChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:  # fmt: skip
    """Split host time into framework, CUDA library and launch path, with HDBI, for each phase.

    Example: taxbreak-nsys llama.sqlite --phase 'decode=^decode' -f json -o llama.json
    """
    from taxbreak_nsys.read.report_inspection import Opening

    first = Opening(reports[0], hashed=sha256)  # inspects the report while the modules below load
    from taxbreak_nsys.output.detail_tables import needed_tables
    from taxbreak_nsys.output.result_tables import INTERVALS
    from taxbreak_nsys.output.shown_rows import RowOrder
    from taxbreak_nsys.pipeline.analysis import analyze_report

    names = list(dict.fromkeys(name.value for name in report or [ReportName.SUM]))
    if format == ReportFormat.PARQUET and written.output is None:
        raise TaxbreakError("-f parquet needs -o FILE")
    graphs = (ReportFormat.SPEEDSCOPE, ReportFormat.COLLAPSED)
    if format in graphs and names != [ReportName.CALL_SUM]:
        raise TaxbreakError(f"-f {format.value} is the flame graph of one report: add -r taxbreak_call_sum")
    unordered = (ReportFormat.TABLE, ReportFormat.JSON, ReportFormat.JSONL, ReportFormat.MARKDOWN)
    if (top is not None or sort is not None) and ReportName.SUM in names and format in unordered:
        raise TaxbreakError("--top and --sort choose rows of a table; name one with -r, as -r taxbreak_kern_sum")
    view = _View(format, tables, RowOrder(top, sort), written)
    targets = view.targets(names)
    options = replace(analysis.options(), tables=needed_tables(names), tree_depth=depth)

    results: list[Result] = []
    failed = False
    for number, path in enumerate(reports):
        try:
            opening = None if number else first
            results.append(analyze_report(path, options, intervals=INTERVALS in names, opening=opening, hashed=sha256))
        except TaxbreakError as error:
            if len(reports) == 1:
                raise
            failed = True
            print(f"taxbreak-nsys: {error}", file=sys.stderr)
    if results:
        for target, shown_names in targets.items():
            view.put(results, shown_names, target)
    if failed:
        raise typer.Exit(2)


@dataclass(frozen=True)
class _View:
    """Format and destination of the results."""

    format: ReportFormat
    tables: RankChoices
    order: RowOrder
    written: OutputChoices

    def targets(self, names: list[str]) -> dict[Path | None, list[str]]:
        """Return {file: report names}, named as nsys does; the file None is standard output.

        A single report goes to FILE, several reports go to FILE_<report>. Raises TaxbreakError where a file cannot be
        written.
        """
        from taxbreak_nsys.output.output_files import check_target

        output = self.written.output
        if output is None:
            return {None: names}
        files: dict[Path | None, list[str]] = {output: names}
        if len(names) > 1:
            files = {output.with_name(f"{output.stem}_{name}{output.suffix}"): [name] for name in names}
        for file in files:
            assert file is not None
            check_target(file, self.written.force_overwrite)
        return files

    def put(self, results: list[Result], names: list[str], target: Path | None) -> None:
        """Write the named reports of the results to `target` or, for None, to standard output."""
        from taxbreak_nsys.output import formats
        from taxbreak_nsys.output.output_files import put_text, write_whole

        force = self.written.force_overwrite
        if self.format == ReportFormat.PARQUET:
            assert target is not None
            write_whole(target, lambda path: formats.write_parquet(results, names[0], path, self.order), force=force)
        else:
            put_text(self._text(results, names), target, force=force)
        if target is not None and not self.written.quiet:
            print(f"wrote {target}", file=sys.stderr)

    def _text(self, results: list[Result], names: list[str]) -> str:
        from taxbreak_nsys.output import flame_graph, formats, markdown, text_report

        if self.format == ReportFormat.MARKDOWN:
            return "\n".join(
                markdown.render_markdown(result, name, self.tables.timeunit, self.order)
                for name in names
                for result in results
            )
        if self.format == ReportFormat.SPEEDSCOPE:
            return flame_graph.speedscope(results)
        if self.format == ReportFormat.COLLAPSED:
            return flame_graph.collapsed_stacks(results)
        if self.format == ReportFormat.JSON:
            return formats.results_json(results, names, self.order)
        if self.format == ReportFormat.JSONL:
            return formats.results_jsonl(results, names, self.order)
        if self.format == ReportFormat.CSV:
            return "".join(formats.to_csv(results, name, self.tables.timeunit, self.order) for name in names)
        return "\n".join(
            text_report.render_text(result, name, self.tables.timeunit, self.order, ranks=self.tables.ranks)
            for name in names
            for result in results
        )
