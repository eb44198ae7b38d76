"""The options that several commands share, each declared once.

A group of options is a frozen dataclass with one field per option; Typer shows and parses the field's annotation. A
command with `option_groups.with_option_groups` takes a group as a parameter and offers its options. Every command that
analyses reports takes `AnalysisChoices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taxbreak_nsys.cli.text_values import parse_time
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import (
    InstanceSpan,
    LibraryEvidence,
    OutputFormat,
    PhasesFrom,
    SplitBy,
    SummaryFormat,
    TimeUnit,
)

if TYPE_CHECKING:
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.phases import PhaseRule

PHASES, ATTRIBUTION, OUTPUT = "Phases", "Attribution", "Output"
"""Panels in the help."""

_FOREVER = 2**62

OneReport = Annotated[
    Path, typer.Argument(metavar="REPORT", help="A .sqlite export or a .nsys-rep file.", show_default=False)
]
SeveralReports = Annotated[
    list[Path], typer.Argument(metavar="REPORT...", help=".sqlite exports or .nsys-rep files.", show_default=False)
]
TargetFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", rich_help_panel=OUTPUT,
                 help="The file to write; default: the report's name in the current folder."),
]  # fmt: skip
OpenFile = Annotated[
    bool, typer.Option("--open", help="Open the file that was written in the browser.", rich_help_panel=OUTPUT)
]
RowsFormat = Annotated[
    OutputFormat,
    typer.Option("-f", "--format", metavar="FORMAT", rich_help_panel=OUTPUT,
                 help=f"One of {', '.join(OutputFormat)}; parquet needs -o."),
]  # fmt: skip
DocumentFormat = Annotated[
    SummaryFormat,
    typer.Option("-f", "--format", metavar="FORMAT", rich_help_panel=OUTPUT,
                 help=f"One of {', '.join(SummaryFormat)}."),
]  # fmt: skip
ForceOverwrite = Annotated[
    bool, typer.Option("--force-overwrite", help="Replace the output file if it exists.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No notes on stderr.", rich_help_panel=OUTPUT)]
StoreUrl = Annotated[
    str,
    typer.Option("--store", metavar="URL", envvar="TAXBREAK_STORE",
                 help="The results store: an SQLite file, or the URL of a database."),
]  # fmt: skip
PhaseRules = Annotated[
    list[str] | None,
    typer.Option(
        "--phase", metavar="LABEL=REGEX", rich_help_panel=PHASES,
        help="NVTX ranges whose text the regular expression finds are the phase LABEL; repeatable.",
    ),
]  # fmt: skip


def parse_phase_rules(texts: list[str] | None) -> tuple[PhaseRule, ...]:
    """Return the parsed rules of `--phase`; raises TaxbreakError for a malformed rule."""
    from taxbreak_nsys.phases import PhaseRule

    return tuple(PhaseRule.parse(text) for text in texts or ())


def engine_names() -> list[str]:
    """Return the names of the known serving engines, for shell completion."""
    from taxbreak_nsys.phases.engine_marks import load_engines

    return [engine.name for engine in load_engines()]


@dataclass(frozen=True)
class AnalysisChoices:
    """The options of an analysis as texts; `options()` parses them."""

    # The help shows the options in this order.
    phase: PhaseRules = None
    phases: Annotated[
        PhasesFrom | None,
        typer.Option("--phases", rich_help_panel=PHASES,
                     help="Where phases come from: marks (NVTX ranges), auto (steps found in the launches), all (one "
                     "phase per thread), best (the first of these that the report allows; the default)."),
    ] = None  # fmt: skip
    ignore_marks: Annotated[
        bool, typer.Option("--ignore-marks", help="Short for --phases auto.", rich_help_panel=PHASES)
    ] = False
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="NAME", rich_help_panel=PHASES, autocompletion=engine_names,
                     help="The serving engine whose marks are the phases, as vllm; default: recognised."),
    ] = None  # fmt: skip
    phase_rules: Annotated[
        Path | None,
        typer.Option("--phase-rules", metavar="FILE", help="Marks of more engines (TOML).", rich_help_panel=PHASES),
    ] = None
    instances: Annotated[
        InstanceSpan | None,
        typer.Option("--instances", rich_help_panel=PHASES,
                     help="range: a phase instance is the marked range; cycle: from the start of an engine's mark to "
                     "the next mark. Default: cycle for an engine's marks, range otherwise."),
    ] = None  # fmt: skip
    by: Annotated[
        SplitBy | None,
        typer.Option("--by", rich_help_panel=PHASES,
                     help="Split phases; batch: one phase per number of requests, as decode[batch=64]."),
    ] = None  # fmt: skip
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="TIME", rich_help_panel=PHASES,
                     help="Only phase instances that start at or after TIME (ns, or 1.5s, 20ms, 300us)."),
    ] = None  # fmt: skip
    end: Annotated[
        str | None,
        typer.Option("--end", metavar="TIME", rich_help_panel=PHASES,
                     help="Only phase instances that end at or before TIME."),
    ] = None  # fmt: skip
    skip: Annotated[
        int,
        typer.Option("--skip", metavar="N", min=0, rich_help_panel=PHASES, show_default=False,
                     help="Leave out the first N instances of each phase and thread (warm-up)."),
    ] = 0  # fmt: skip
    process: Annotated[
        int | None, typer.Option("--process", metavar="PID", help="Only this process.", rich_help_panel=PHASES)
    ] = None
    thread: Annotated[
        int | None, typer.Option("--thread", metavar="TID", help="Only this thread.", rich_help_panel=PHASES)
    ] = None
    evidence: Annotated[
        LibraryEvidence | None,
        typer.Option("--evidence", metavar="NAME", rich_help_panel=ATTRIBUTION,
                     help=f"How to attribute the library layer: {', '.join(LibraryEvidence)}; default: the best that "
                     "the report allows."),
    ] = None  # fmt: skip
    t_sys: Annotated[
        str | None,
        typer.Option("--t-sys", metavar="TIME", rich_help_panel=ATTRIBUTION,
                     help="T_sys, the floor of the launch path per launch, where it was measured elsewhere."),
    ] = None  # fmt: skip
    null_report: Annotated[
        Path | None,
        typer.Option("--null-report", metavar="REPORT", rich_help_panel=ATTRIBUTION,
                     help="Take T_sys from this report of an empty kernel."),
    ] = None  # fmt: skip
    modules: Annotated[
        Path | None,
        typer.Option("--modules", metavar="FILE", rich_help_panel=ATTRIBUTION,
                     help="Your own table of shared libraries, searched before the built-in one."),
    ] = None  # fmt: skip
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="FILE[#SET]", rich_help_panel=ATTRIBUTION,
                     help="Un-profiled times of the phases, to correct the profiler's slowdown."),
    ] = None  # fmt: skip
    library_map: Annotated[
        Path | None,
        typer.Option("--library-map", metavar="FILE", rich_help_panel=ATTRIBUTION,
                     help="Which kernels a library launches, as the command library-map learned it."),
    ] = None  # fmt: skip
    kernel_classes: Annotated[
        Path | None,
        typer.Option("--kernel-classes", metavar="FILE", rich_help_panel=ATTRIBUTION,
                     help="Your own classes of kernels (TOML), tried before the built-in ones."),
    ] = None  # fmt: skip

    def options(self) -> Options:
        """Return the parsed options; raises TaxbreakError for a malformed text or conflicting options."""
        from taxbreak_nsys.options import Options

        return Options(
            rules=parse_phase_rules(self.phase),
            window=self._window(),
            process=self.process,
            thread=self.thread,
            t_sys_ns=self._t_sys_ns(),
            null_report=self.null_report,
            evidence=_plain(self.evidence),
            skip=self.skip,
            phases=self._phase_source(),
            instances=_plain(self.instances),
            engine=self.engine,
            phase_rules=self.phase_rules,
            by_batch=self.by is not None,
            modules=self.modules,
            reference=self.reference,
            library_map=self.library_map,
            kernel_classes=self.kernel_classes,
        )

    def _window(self) -> tuple[int, int] | None:
        if self.start is None and self.end is None:
            return None
        start = -_FOREVER if self.start is None else parse_time(self.start, "--start")
        end = _FOREVER if self.end is None else parse_time(self.end, "--end")
        if start >= end:
            raise TaxbreakError(f"--start {self.start} is not before --end {self.end}")
        return start, end

    def _t_sys_ns(self) -> int | None:
        if self.t_sys is None:
            return None
        if self.null_report is not None:
            raise TaxbreakError("--t-sys and --null-report exclude each other; give one")
        floor = parse_time(self.t_sys, "--t-sys")
        if floor <= 0:
            raise TaxbreakError(f"--t-sys {self.t_sys}: must be more than 0")
        return floor

    def _phase_source(self) -> str | None:
        """Return the source of phases, None for the best one; raises TaxbreakError for conflicting options."""
        if self.ignore_marks and self.phases not in (None, PhasesFrom.AUTO):
            raise TaxbreakError(f"--ignore-marks means --phases auto; leave out --phases {self.phases}")
        source = PhasesFrom.AUTO if self.ignore_marks else self.phases or PhasesFrom.BEST
        if self.phase and (source != PhasesFrom.BEST or self.engine):
            raise TaxbreakError(
                "--phase says which ranges are the phases; leave out --phases, --ignore-marks, --engine"
            )
        if self.engine is not None and source in (PhasesFrom.AUTO, PhasesFrom.ALL):
            raise TaxbreakError(f"--engine {self.engine} needs the marks that --phases {source} leaves out")
        return None if source == PhasesFrom.BEST else source.value


def _plain(choice: Any) -> Any:
    """Return the value of an enum member as plain text, because the analysis keeps plain data."""
    return None if choice is None else str(choice.value)


@dataclass(frozen=True)
class WritingChoices:
    """Whether existing files are replaced, and whether notes are printed."""

    force_overwrite: ForceOverwrite = False
    quiet: Quiet = False


@dataclass(frozen=True)
class OutputChoices:
    """The destination of the output: standard output, or a file that replaces another only on request."""

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write to a file.", rich_help_panel=OUTPUT),
    ] = None
    force_overwrite: ForceOverwrite = False
    raw_csv: Annotated[
        bool,
        typer.Option(
            "--raw-csv",
            help="CSV texts as they are, also those that a spreadsheet would run as formulas.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        """Set the context variable that CSV writers read."""
        if self.raw_csv:
            from taxbreak_nsys.output.csv_text import RAW_CSV

            RAW_CSV.set(True)

    def check(self) -> None:
        """Raise TaxbreakError where the file cannot be written; called before the analysis."""
        from taxbreak_nsys.output.output_files import check_target

        if self.output is not None:
            check_target(self.output, self.force_overwrite)


@dataclass(frozen=True)
class TableChoices:
    """The unit of times in tables."""

    timeunit: Annotated[
        TimeUnit | None,
        typer.Option("--timeunit", help="Unit of times in tables; default: what reads best.", rich_help_panel=OUTPUT),
    ] = None


@dataclass(frozen=True)
class RankChoices(TableChoices):
    """The unit of times in tables, and whether tables show every rank of a group."""

    ranks: Annotated[
        bool, typer.Option("--ranks", help="Show every rank of a group in tables.", rich_help_panel=OUTPUT)
    ] = False
