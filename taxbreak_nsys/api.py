"""The Python API: `from taxbreak_nsys import analyze, compare, whatif, gate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import InstanceSpan, LibraryEvidence
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES
from taxbreak_nsys.notebook.report_result import ReportResult
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import SOURCES, PhaseRule
from taxbreak_nsys.pipeline.analysis import analyze_report as _analyze
from taxbreak_nsys.result import Result

if TYPE_CHECKING:
    from taxbreak_nsys.notebook.answers import ComparedReports, Forecast, GateOutcome

Report = str | PathLike[str] | Result
"""A report's path, or its result: what `analyze` returned."""


def analyze(
    report: str | PathLike[str],
    *,
    phases: Mapping[str, str] | None = None,
    window_ns: tuple[int, int] | None = None,
    process: int | None = None,
    thread: int | None = None,
    t_sys_ns: int | None = None,
    null_report: str | PathLike[str] | None = None,
    evidence: str | None = None,
    skip: int = 0,
    phase_source: str = "best",
    instances: Literal["range", "cycle"] | None = None,
    engine: str | None = None,
    phase_rules: str | PathLike[str] | None = None,
    by_batch: bool = False,
    modules: str | PathLike[str] | None = None,
    reference: str | PathLike[str] | None = None,
    library_map: str | PathLike[str] | None = None,
    tables: Collection[str] = (),
    tree_depth: int | None = None,
    kernel_classes: str | PathLike[str] | None = None,
    intervals: bool = False,
    sha256: bool = False,
) -> ReportResult:
    """Analyse an Nsight Systems report.

    `report` is a `.sqlite` export or a `.nsys-rep`. `phases` maps labels to regular expressions over NVTX
    range texts; without it the phases are the marks of a known serving engine, or else the outermost ranges, or
    else steps found in the launches. `phase_source` narrows that: `marks`, `auto` (the launches) or `all` (a
    thread is one phase). `instances` says what one instance of a phase spans: `range`, the marked range, or `cycle`,
    from the start of an engine's mark to the next mark; the default is `cycle` for an engine's marks and `range`
    otherwise. `engine` names the engine, `phase_rules` is a TOML file of more engines, `by_batch` splits phases by
    the number of requests.

    `window_ns` keeps the instances inside (start, end) in ns of the session, `process` and `thread` those of one
    process or thread id; `skip` leaves out the first instances of each phase and thread that has more.

    `t_sys_ns` or `null_report` give T_sys, the floor of the launch path; `evidence` forces `ranges`, `samples`,
    `subtractive` or `none`. `modules` is a table of your own shared libraries for CPU samples, `reference` a file of
    un-profiled times to correct by, `library_map` a file that says which kernels a library launches.

    `tables` asks for tables of details in `result.details`: `gaps`, `gap_trace`, `ranges`, `classes`, `fusion`,
    `call_tree`; `tree_depth` cuts ranges and calls at a depth, `kernel_classes` is a TOML file of your own classes.

    The report is read in windows of time, so that memory does not grow with it; `result.step_sums` has the sums of each
    instance in `result.instances`, and with `intervals` `result.intervals` has every host interval as an Arrow table.
    `result.report.fingerprint` identifies the file by samples of it; `sha256` asks for its hash as well.

    Returns a `Result`: `.phases`, `.steps`, `.kernels`, `.operators`, `.gaps`, `.ranges` and `.warnings` are pandas
    frames, `.plot()`, `.html()` and `.trace()` make pictures, `.to_arrow()`, `.to_json()` and `.to_dict()` give the
    phases elsewhere; all times are integers in ns. Raises `TaxbreakError` (a ValueError) with a message of one line
    where the report or a choice cannot be used, and FileNotFoundError where there is no such report.
    """
    if phases is not None and not isinstance(phases, Mapping):
        raise TaxbreakError(f"phases {phases!r}: must map labels to regular expressions, as {{'decode': '^decode'}}")
    if evidence not in (None, *LibraryEvidence):
        raise TaxbreakError(f"evidence {evidence!r}: not one of {', '.join(LibraryEvidence)}")
    if isinstance(tables, str):
        raise TaxbreakError(f"tables {tables!r}: must be a collection of names, as ({tables!r},)")
    if phase_source not in SOURCES:
        raise TaxbreakError(f"phase_source {phase_source!r}: not one of {', '.join(SOURCES)}")
    if instances not in (None, *InstanceSpan):
        raise TaxbreakError(f"instances {instances!r}: not one of {', '.join(InstanceSpan)}")
    unknown = sorted(set(tables) - set(DETAIL_TABLES))
    if unknown:
        raise TaxbreakError(f"tables {unknown[0]!r}: not one of {', '.join(DETAIL_TABLES)}")
    options = Options(
        rules=tuple(PhaseRule.parse(f"{label}={regex}") for label, regex in (phases or {}).items()),
        window=window_ns,
        process=process,
        thread=thread,
        t_sys_ns=t_sys_ns,
        null_report=_path(null_report),
        evidence=evidence,
        skip=skip,
        phases=None if phase_source == "best" else phase_source,
        instances=instances,
        engine=engine,
        phase_rules=_path(phase_rules),
        by_batch=by_batch,
        modules=_path(modules),
        reference=str(reference) if reference else None,
        library_map=_path(library_map),
        tables=frozenset(tables),
        tree_depth=tree_depth,
        kernel_classes=_path(kernel_classes),
    )
    return ReportResult.of_analysis(_analyze(Path(report), options, intervals=intervals, hashed=sha256), options)


def compare(
    before: Report | Sequence[Report], after: Report | Sequence[Report], *, map: Sequence[str] = ()
) -> ComparedReports:
    """Compare two captures per step: what changed, with 95 % intervals, and in which layer.

    A side is a report (path or result), a folder of repeats or ranks, or a list of them. `map` pairs phases of
    two names, as `decode=decode_graph`. Raises `TaxbreakError` where no phase is common to both sides.
    """
    from taxbreak_nsys.comparison.comparison import compare as compare_results
    from taxbreak_nsys.notebook.answers import ComparedReports

    return ComparedReports(compare_results(_side(before), _side(after), map))


def whatif(report: Report, **changes: Any) -> Forecast:
    """Predict wall time, device idle time and HDBI after a change, by replaying the report.

    `changes` are the fields of a scenario: factors `framework`, `library`, `launch`, `kernels`, `copies` (0.5 is
    half the time), `cpu` (a speed: 2 is twice as fast), `graphs=True`, `framework_minus_ns`, `before`,
    `graph_launch_ns`. Without any, every lever is ranked. Raises `TaxbreakError` for other names and wrong values.
    """
    from taxbreak_nsys.notebook.answers import Forecast
    from taxbreak_nsys.replay.prediction import Replay
    from taxbreak_nsys.replay.scenarios import Scenario

    known = [field.name for field in dataclasses.fields(Scenario)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise TaxbreakError(f"whatif has no change {unknown[0]!r}; the changes are: {', '.join(known)}")
    scenario = Scenario(**changes)
    return Forecast(Replay(report if isinstance(report, Result) else analyze(report)), scenario)


def gate(report: Report | Sequence[Report], rules: str | Sequence[str], baseline: Report | None = None) -> GateOutcome:
    """Judge rules over a report's metrics: `assert gate(report, "decode.hdbi >= 0.2")`.

    `baseline` is a report (path or result), a folder of reports, a JSON file that this program wrote, or a results
    store. Raises `TaxbreakError` where a rule or the baseline cannot be read.
    """
    from taxbreak_nsys.gating.all_rules import judge_rules
    from taxbreak_nsys.gating.metric_sources import parse_any_rule
    from taxbreak_nsys.gating.side_sources import load_baseline
    from taxbreak_nsys.gating.sides import side_of_results
    from taxbreak_nsys.notebook.answers import GateOutcome

    results = _side(report)
    parsed = [parse_any_rule(text) for text in ([rules] if isinstance(rules, str) else rules)]
    options = results[0].options if isinstance(results[0], ReportResult) else Options()
    compared = None
    if isinstance(baseline, Result):
        compared = side_of_results([baseline])
    elif baseline is not None:
        compared = load_baseline(str(baseline), options, results[0].report)
    return GateOutcome(tuple(results), tuple(judge_rules(parsed, side_of_results(results), compared)))


def _side(given: Report | Sequence[Report]) -> list[Result]:
    from taxbreak_nsys.gating.side_sources import analyze_side

    if isinstance(given, Result):
        return [given]
    if isinstance(given, str | PathLike):
        return analyze_side(Path(given), Options())
    return [result for each in given for result in _side(each)]


def _path(given: str | PathLike[str] | None) -> Path | None:
    return Path(given) if given else None
