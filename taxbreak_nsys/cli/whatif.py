"""`taxbreak-nsys whatif REPORT`: predict the effect of a faster layer, CPU or device."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import AnalysisChoices, DocumentFormat, OneReport, OutputChoices, TableChoices
from taxbreak_nsys.cli.text_values import parse_number, parse_time
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import SummaryFormat

if TYPE_CHECKING:
    from taxbreak_nsys.replay.scenarios import Scenario

CHANGES = "Changes"
_FACTORS = ("framework", "library", "launch", "copy_calls", "module_load", "kernels", "copies", "cpu")


def _factor(flag: str, quantity: str) -> typer.models.OptionInfo:
    return typer.Option(
        flag, metavar="FACTOR", help=f"Multiply {quantity} by FACTOR: 0.5 is half.", rich_help_panel=CHANGES
    )


@dataclass(frozen=True)
class ScenarioChoices:
    """The options that define the change, as texts; `scenario()` parses them."""

    framework: Annotated[str | None, _factor("--framework", "framework time")] = None
    library: Annotated[str | None, _factor("--library", "CUDA library time")] = None
    launch: Annotated[str | None, _factor("--launch", "the time of launch calls")] = None
    copy_calls: Annotated[str | None, _factor("--copy-calls", "the time of calls that launch copies and sets")] = None
    module_load: Annotated[str | None, _factor("--module-load", "the time of loading modules")] = None
    kernels: Annotated[str | None, _factor("--kernels", "kernel time")] = None
    copies: Annotated[str | None, _factor("--copies", "the time of copies and sets")] = None
    cpu: Annotated[
        str | None,
        typer.Option("--cpu", metavar="SPEED", help="A CPU that is SPEED times as fast.", rich_help_panel=CHANGES),
    ] = None
    framework_minus: Annotated[
        str | None,
        typer.Option("--framework-minus", metavar="TIME", rich_help_panel=CHANGES,
                     help="Take TIME off the framework before each launch."),
    ] = None  # fmt: skip
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="REGEX", rich_help_panel=CHANGES,
                     help="Apply --framework-minus only before launches of kernels with such names."),
    ] = None  # fmt: skip
    graphs: Annotated[
        bool,
        typer.Option(
            "--graphs", help="Launch each step as CUDA graphs, one between two waits.", rich_help_panel=CHANGES
        ),
    ] = False
    graph_launch: Annotated[
        str | None,
        typer.Option("--graph-launch", metavar="TIME", rich_help_panel=CHANGES,
                     help="Time of a graph launch; default: T_sys and 200 ns per node."),
    ] = None  # fmt: skip

    @property
    def factor_texts(self) -> dict[str, str]:
        """The given factors as texts, by name."""
        texts = {name: getattr(self, name) for name in _FACTORS}
        return {name: text for name, text in texts.items() if text}

    def scenario(self) -> Scenario:
        """Return the scenario; raises TaxbreakError for a malformed text or an option without the one it requires."""
        from taxbreak_nsys.replay.scenarios import Scenario

        minus, launch = self.framework_minus, self.graph_launch
        scenario = Scenario(
            **{name: parse_number(text, f"--{name.replace('_', '-')}") for name, text in self.factor_texts.items()},
            framework_minus_ns=parse_time(minus, "--framework-minus") if minus else 0,
            before=self.before,
            graphs=self.graphs,
            graph_launch_ns=parse_time(launch, "--graph-launch") if launch else None,
        )
        if self.before is not None and not minus:
            raise TaxbreakError("--before says where --framework-minus applies; give both")
        if launch is not None and not self.graphs:
            raise TaxbreakError("--graph-launch is the time of a launch of --graphs; give both")
        return scenario


def whatif(
    *,
    report: OneReport,
    changes: ScenarioChoices,
    sweep: Annotated[bool, typer.Option("--sweep", help="Draw the curve of every lever.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Replay every step of a large report; default: the verdict's stretches.")
    ] = False,
    format: DocumentFormat = SummaryFormat.TABLE,
    tables: TableChoices,
    written: OutputChoices,
    analysis: AnalysisChoices,
) -> None:
    """Predict wall time, device idle time and HDBI after a change; without a change, rank what each would bring.

    Example: taxbreak-nsys whatif llama.sqlite --framework 0.5 --kernels 0.8
    """
    from taxbreak_nsys.output import whatif_report
    from taxbreak_nsys.output.output_files import put_text
    from taxbreak_nsys.pipeline.analysis import analyze_report, measure_report
    from taxbreak_nsys.replay.prediction import Replay
    from taxbreak_nsys.replay.sweep import predict_changes, rank_levers, speeds_to_bound, sweep_levers

    written.check()
    scenario = changes.scenario()
    if sweep and not scenario.unchanged:
        raise TaxbreakError("--sweep draws every lever by itself; leave the others out")
    options = analysis.options()
    if whole:
        replay = Replay.of_columns(*measure_report(report, options, hashed=True))
    else:
        replay = Replay(analyze_report(report, options, hashed=True))
    unit = tables.timeunit
    if sweep:
        text = whatif_report.sweep_report(replay, sweep_levers(replay), speeds_to_bound(replay), format, unit)
    elif scenario.unchanged and not changes.factor_texts:  # explicit factors of 1 request the unchanged replay
        text = whatif_report.ranking_report(replay, rank_levers(replay), predict_changes(replay), format, unit)
    else:
        text = whatif_report.prediction(replay, scenario, replay.predict(scenario), format, unit)
    put_text(text, written.output, force=written.force_overwrite)
    if written.output is not None and not written.quiet:
        print(f"wrote {written.output}", file=sys.stderr)
