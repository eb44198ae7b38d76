"""The checks of `doctor`: what this machine can capture, and which evidence a report holds.

A check is a function that returns findings; `MACHINE_CHECKS` and `REPORT_CHECKS` list the checks in output order.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from taxbreak_nsys.capture.nsys_command import EVIDENCES, plan
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.nsys.machine import sampling_problem
from taxbreak_nsys.nsys.nsys_program import Nsys
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.read.database import open_report
from taxbreak_nsys.result import Result
from taxbreak_nsys.scrub import gives_away

OK, MISSING, NOTE, PROBLEM = "ok", "missing", "note", "problem"
"""States of a finding: as expected; missing but possible to capture; for information; an error."""


@dataclass(frozen=True)
class Check:
    """One finding of a check, with the remedy (None if nothing needs fixing)."""

    state: str
    subject: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True)
class Report:
    """A report to check; the analysis and the counts are computed when a check first needs them."""

    path: Path
    options: Options

    @cached_property
    def result(self) -> Result:
        """The result of the analysis; raises TaxbreakError if the report cannot be analysed."""
        return analyze_report(self.path, self.options)

    @cached_property
    def amounts(self) -> dict[str, int]:
        """The number of samples, frames and chained launches in the report (`sql/evidence_counts.sql`)."""
        with open_report(self.path) as database:
            return {row["topic"]: int(row["amount"]) for row in database.query("evidence_counts").to_pylist()}


def check_machine() -> list[Check]:
    """Return the findings about this machine."""
    nsys = Nsys.find()
    return [finding for check in MACHINE_CHECKS for finding in check(nsys)]


def check_one_report(path: Path, options: Options | None = None) -> list[Check]:
    """Return the findings about a report; if it cannot be analysed, the only finding is that problem."""
    report = Report(path, options or Options())
    try:
        _ = report.result
    except TaxbreakError as error:
        return [Check(PROBLEM, "report", str(error))]
    return [finding for check in REPORT_CHECKS for finding in check(report)]


def _nsys(nsys: Nsys | None) -> list[Check]:
    if nsys is None:
        return [
            Check(
                PROBLEM, "nsys", "not on PATH: nothing can be captured here, and only .sqlite exports can be read",
                "install NVIDIA Nsight Systems, or put the folder that holds nsys on PATH",
            )
        ]  # fmt: skip
    if nsys.version is None:
        return [Check(PROBLEM, "nsys", f"{nsys.program} does not say its version", "install it again")]
    return [Check(OK, "nsys", f"{nsys.version_text} ({nsys.program})")]


def _gpu(nsys: Nsys | None) -> list[Check]:
    if shutil.which("nvidia-smi") is None:
        return [Check(NOTE, "GPU", "no nvidia-smi on PATH: this machine reads reports, but has no GPU to capture")]
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [Check(PROBLEM, "GPU", "nvidia-smi fails", "see what 'nvidia-smi' says; the driver may not be loaded")]
    return [Check(OK, "GPU", f"{line} (driver)") for line in dict.fromkeys(done.stdout.strip().splitlines())]


def _sampling(nsys: Nsys | None) -> list[Check]:
    problem = sampling_problem(nsys)
    if problem is None:
        return [Check(OK, "CPU sampling", "permitted: evidence samples and launch-chains can be captured")]
    message, _, remedy = problem.partition("; ")
    return [Check(MISSING, "CPU sampling", f"{message}: no evidence samples or launch-chains", remedy or None)]


def _captures(nsys: Nsys | None) -> list[Check]:
    if nsys is None:
        return []
    return [
        Check(NOTE, f"capture --evidence {name}", message)
        for name in EVIDENCES
        for message in plan(nsys, name, Path("report"), ["true"]).notes
    ]


def _recipes(nsys: Nsys | None) -> list[Check]:
    if nsys is None:
        return []
    subject = "nsys recipe"
    if nsys.commands and "recipe" not in nsys.commands:
        return [
            Check(MISSING, subject, f"nsys {nsys.release} has no recipes", "install Nsight Systems 2023.4 or newer")
        ]
    folder = os.environ.get("NSYS_RECIPE_PATH")
    if not folder or not (Path(folder) / "taxbreak_layers" / "metadata.json").is_file():
        where = f"not in NSYS_RECIPE_PATH ({folder})" if folder else "NSYS_RECIPE_PATH is not set"
        return [
            Check(MISSING, subject, f"taxbreak_layers: {where}", 'eval "$(taxbreak-nsys recipe install)"'),
        ]
    python = shutil.which("python3")
    has_packages = python is not None and not subprocess.run(
        [python, "-c", "import taxbreak_nsys, psutil"], capture_output=True, check=False
    ).returncode  # fmt: skip
    if not has_packages:
        return [
            Check(
                PROBLEM, subject, f"nsys runs recipes with {python or 'python3'}, which lacks taxbreak-nsys or psutil",
                "activate the environment of taxbreak-nsys, with 'pip install taxbreak-nsys[recipe]'",
            )
        ]  # fmt: skip
    return [Check(OK, subject, f"taxbreak_layers is in {folder}")]


def _remedy(evidence: str) -> str:
    return f"taxbreak-nsys capture --evidence {evidence} -- COMMAND"


def _used_evidence(report: Report) -> list[Check]:
    by_evidence: dict[str, list[str]] = {}
    lost = [entry for entry in report.result.entries if entry.kernels is None]
    for entry in report.result.entries:
        if entry in lost:
            continue
        phases = by_evidence.setdefault(entry.taxbreak.evidence, [])
        if entry.phase not in phases:
            phases.append(entry.phase)
    checks = [
        Check(MISSING, "CUDA rows", warning.message, warning.remedy)
        for warning in report.result.report.warnings
        if warning.code == "cuda_rows_lost"
    ]
    for name, phases in by_evidence.items():
        state = MISSING if name == "none" else OK
        checks.append(Check(state, "evidence used", f"{name} ({', '.join(phases)})"))
    measured = [entry.phase for entry in report.result.entries if entry.taxbreak.hdbi is not None]
    if measured:
        checks.append(Check(OK, "HDBI", f"measured ({', '.join(dict.fromkeys(measured))})"))
    checks += [
        Check(MISSING, "HDBI", f"not measured ({entry.phase}): {entry.taxbreak.hdbi_reason}", "capture again")
        for entry in {entry.phase: entry for entry in lost}.values()
    ]
    return checks


def _ranges(report: Report) -> list[Check]:
    ranges = report.result.traced_ranges
    if not ranges.library:
        return [Check(MISSING, "evidence ranges", "no library ranges in the report", _remedy("ranges"))]
    libraries = ", ".join(ranges.libraries)
    return [Check(OK, "evidence ranges", f"{ranges.library} library ranges ({libraries})")]


def _samples(report: Report) -> list[Check]:
    samples, frames = report.amounts["samples"], report.amounts["sample_frames"]
    if not samples:
        return [Check(MISSING, "evidence samples", "no CPU samples of a launching thread", _remedy("samples"))]
    if frames <= samples:
        return [
            Check(
                MISSING, "evidence samples", f"{samples} CPU samples, but without their call chains", _remedy("samples")
            )
        ]
    return [
        Check(OK, "evidence samples", f"{samples} CPU samples of launching threads, {frames // samples} frames each")
    ]


def _subtractive(report: Report) -> list[Check]:
    operators = report.result.traced_ranges.operator
    if not operators:
        return [Check(MISSING, "evidence subtractive", "no operator ranges in the report", _remedy("operators"))]
    if report.result.t_base_ns is None:
        return [
            Check(
                MISSING, "evidence subtractive",
                f"{operators} operator ranges, but no framework-native launch among them to compare with",
                "capture more of the program",
            )
        ]  # fmt: skip
    return [Check(OK, "evidence subtractive", f"{operators} operator ranges; T_base {report.result.t_base_ns} ns")]


def _chains(report: Report) -> list[Check]:
    chained = report.amounts["chained_launches"]
    if not chained:
        return [Check(MISSING, "launch chains", "no call chains of launches", _remedy("launch-chains"))]
    return [Check(OK, "launch chains", f"{chained} CUDA calls have their call chain")]


_COVERED_WARNINGS = frozenset({"no_library_evidence", "subtractive_estimate", "cuda_rows_lost"})
"""Warnings that the other checks report already."""


def _warnings(report: Report) -> list[Check]:
    return [
        Check(NOTE, warning.code, warning.message, warning.remedy)
        for warning in report.result.report.warnings
        if warning.code not in _COVERED_WARNINGS
    ]


def _private_data(report: Report) -> list[Check]:
    """Return a note on private data in the report, such as paths and environment, which sharing it would reveal."""
    row_counts: dict[str, int] = {}
    for item in gives_away(report.path):
        row_counts[item.what] = row_counts.get(item.what, 0) + item.rows
    if not row_counts:
        return []
    kinds = ", ".join(f"{what} ({rows})" for what, rows in row_counts.items())
    return [Check(NOTE, "privacy", f"the report gives away {kinds}", "post the copy that 'taxbreak-nsys scrub' writes")]


MACHINE_CHECKS: tuple[Callable[[Nsys | None], list[Check]], ...] = (_nsys, _gpu, _sampling, _captures, _recipes)
"""Checks of this machine; each takes the nsys on PATH, or None if there is none."""

REPORT_CHECKS: tuple[Callable[[Report], list[Check]], ...] = (
    _used_evidence, _ranges, _samples, _subtractive, _chains, _warnings, _private_data,
)  # fmt: skip
"""Checks of a report that could be analysed."""
