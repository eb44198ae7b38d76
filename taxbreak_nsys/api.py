"""The Python API: `from taxbreak_nsys import analyze`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import InstanceSpan
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import SOURCES, PhaseRule
from taxbreak_nsys.pipeline.analysis import analyze_report as _analyze
from taxbreak_nsys.result import Result


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
) -> Result:
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

    The report is read in windows of time, so that memory does not grow with it; `result.steps` has the sums of each
    instance in `result.instances`, and with `intervals` `result.intervals` has every host interval as an Arrow table.

    Returns a `Result`: `.phases` is a pandas frame, `.to_arrow()`, `.to_json()`, `.to_dict()` give the same
    elsewhere; all times are integers in ns. Raises `TaxbreakError` with a message of one line where the
    report or a choice cannot be used.
    """
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
    return _analyze(Path(report), options, intervals=intervals)


def _path(given: str | PathLike[str] | None) -> Path | None:
    return Path(given) if given else None
