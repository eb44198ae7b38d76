"""What several commands have in common: options of the analysis, and how their texts are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    from taxbreak_nsys.options import Options

_TIME = re.compile(r"\s*([+-]?\d+(?:\.\d*)?)\s*(ns|nsec|us|usec|ms|msec|s|sec)?\s*")
_FACTORS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_FOREVER = 2**62

Phases = Annotated[
    list[str] | None,
    typer.Option(
        "--phase", metavar="LABEL=REGEX", help="NVTX ranges that are a phase; repeatable.", show_default=False
    ),
]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="Instances from here on (ns, or 1.5s, 20ms, 300us)."),
]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Instances that end by here.")]
Process = Annotated[int | None, typer.Option("--process", metavar="PID", help="This process alone.")]
Thread = Annotated[int | None, typer.Option("--thread", metavar="TID", help="This thread alone.")]
TSys = Annotated[str | None, typer.Option("--t-sys", metavar="TIME", help="The floor of a launch, measured elsewhere.")]
NullReport = Annotated[
    Path | None,
    typer.Option("--null-report", metavar="REPORT", help="A null-kernel report to take that floor from."),
]
Evidence = Annotated[
    str | None,
    typer.Option("--evidence", metavar="NAME", help="Use this evidence alone: ranges, samples, subtractive, none."),
]
Modules = Annotated[
    Path | None,
    typer.Option("--modules", metavar="FILE", help="Your own module table, looked into before the built-in one."),
]
Reference = Annotated[
    str | None,
    typer.Option("--reference", metavar="FILE[#SET]", help="Un-profiled times of the phases, to correct by."),
]
LibraryMap = Annotated[
    Path | None,
    typer.Option("--library-map", metavar="FILE", help="Which kernels a library launches (see library-map)."),
]
Skip = Annotated[
    int, typer.Option("--skip", metavar="N", min=0, help="Leave out the first N instances of each phase (warm-up).")
]
TimeUnit = Annotated[
    str | None, typer.Option("--timeunit", help="nsec, usec, msec or sec, for tables.", show_default=False)
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")]
StoreUrl = Annotated[
    str,
    typer.Option("--store", metavar="URL", envvar="TAXBREAK_STORE", help="The results store: an SQLite file, or a "
                 "database's URL."),
]  # fmt: skip
PhaseSources = Annotated[
    str | None,
    typer.Option(
        "--phases", metavar="SOURCE", show_default=False,
        help="Where phases come from: marks (NVTX ranges), auto (steps found in the launches), all (none).",
    ),
]  # fmt: skip
IgnoreMarks = Annotated[bool, typer.Option("--ignore-marks", help="Short for --phases auto.")]
Engine = Annotated[
    str | None,
    typer.Option("--engine", metavar="NAME", help="The serving engine whose marks are the phases.", show_default=False),
]
PhaseRules = Annotated[
    Path | None,
    typer.Option("--phase-rules", metavar="FILE", help="More engines' marks (TOML).", show_default=False),
]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="WHAT", help="batch: a phase for each number of requests.", show_default=False),
]
Force = Annotated[bool, typer.Option("--force-overwrite", help="Replace the output file if it exists.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No notes on stderr.")]


def parse_time(text: str, option: str) -> int:
    """Return a time in ns from `123`, `1.5s`, `20 ms`; raises TaxbreakError naming the option."""
    match = _TIME.fullmatch(text)
    if not match:
        raise TaxbreakError(f"{option} {text!r}: not a time; write nanoseconds, or 1.5s, 20ms, 300us")
    return int(Decimal(match[1]) * _FACTORS[(match[2] or "ns").removesuffix("ec")])


def parse_number(text: str, option: str) -> float:
    """Return a number; raises TaxbreakError naming the option where the text is none."""
    try:
        return float(text)
    except ValueError as error:
        raise TaxbreakError(f"{option} {text!r}: not a number") from error


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Raise TaxbreakError where an option's value is not one of its choices."""
    if value not in choices:
        raise TaxbreakError(f"{option} {value!r}: not one of {', '.join(choices)}")


def check_unit(unit: str | None) -> None:
    """Raise TaxbreakError where `--timeunit` is not one of nsys's."""
    from taxbreak_nsys.output.units import UNITS

    if unit is not None:
        check_choice("--timeunit", unit, tuple(UNITS))


def analysis_options(
    phases: list[str] | None,
    start: str | None,
    end: str | None,
    process: int | None,
    thread: int | None,
    t_sys: str | None,
    null_report: Path | None,
    evidence: str | None,
    skip: int = 0,
    source: str | None = None,
    ignore_marks: bool = False,
    engine: str | None = None,
    phase_rules: Path | None = None,
    by: str | None = None,
    modules: Path | None = None,
    reference: str | None = None,
    library_map: Path | None = None,
) -> Options:
    """Return the options of the analysis; raises TaxbreakError where a text cannot be read."""
    from taxbreak_nsys.attribution.layers import EVIDENCES
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.phases import SOURCES, PhaseRule

    window = None
    if start is not None or end is not None:
        window = (
            parse_time(start, "--start") if start is not None else -_FOREVER,
            parse_time(end, "--end") if end is not None else _FOREVER,
        )
        if window[0] >= window[1]:
            raise TaxbreakError(f"--start {start} is not before --end {end}")
    floor = parse_time(t_sys, "--t-sys") if t_sys is not None else None
    if floor is not None and floor <= 0:
        raise TaxbreakError(f"--t-sys {t_sys}: must be more than 0")
    if floor is not None and null_report is not None:
        raise TaxbreakError("--t-sys and --null-report exclude each other; give one")
    if evidence is not None and evidence not in EVIDENCES:
        raise TaxbreakError(f"--evidence {evidence!r}: not one of {', '.join(EVIDENCES)}")
    rules = tuple(PhaseRule.parse(text) for text in phases or ())
    if source is not None and source not in SOURCES:
        raise TaxbreakError(f"--phases {source!r}: not one of {', '.join(SOURCES)}")
    if ignore_marks and (source or "auto") != "auto":
        raise TaxbreakError(f"--ignore-marks means --phases auto; leave out --phases {source}")
    source = "auto" if ignore_marks else source or "best"
    if rules and (source != "best" or engine):
        raise TaxbreakError("--phase says which ranges are the phases; leave out --phases, --ignore-marks, --engine")
    if engine is not None and source in ("auto", "all"):
        raise TaxbreakError(f"--engine {engine} needs the marks that --phases {source} leaves out")
    if by not in (None, "batch"):
        raise TaxbreakError(f"--by {by!r}: the one choice is batch")
    return Options(
        rules, window, process, thread, floor, null_report, evidence, skip,
        phases=None if source == "best" else source, engine=engine, phase_rules=phase_rules, by_batch=by == "batch",
        modules=modules, reference=reference, library_map=library_map,
    )  # fmt: skip
