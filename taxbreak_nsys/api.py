"""The Python API: `from taxbreak_nsys import analyze`."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from taxbreak_nsys.analysis import Options
from taxbreak_nsys.analysis import analyze as _analyze
from taxbreak_nsys.phases import PhaseRule
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
) -> Result:
    """Analyse an Nsight Systems report.

    `report` is a `.sqlite` export or a `.nsys-rep`. `phases` maps labels to regular expressions over NVTX
    range texts; without it the outermost ranges are the phases. `window_ns` keeps the instances inside
    (start, end) in ns of the session, `process` and `thread` those of one process or thread id. `t_sys_ns`
    or `null_report` give the floor of the launch path; `evidence` forces `ranges`, `subtractive` or `none`.
    `skip` leaves out the first instances of each phase and thread that has more.

    Returns a `Result`: `.phases` is a pandas frame, `.to_arrow()`, `.to_json()`, `.to_dict()` the same
    elsewhere; all times are integers in ns. Raises `TaxbreakError` with a message of one line where the
    report or a choice is no use.
    """
    rules = tuple(PhaseRule.parse(f"{label}={regex}") for label, regex in (phases or {}).items())
    return _analyze(
        Path(report),
        Options(
            rules, window_ns, process, thread, t_sys_ns, Path(null_report) if null_report else None, evidence, skip
        ),
    )
