"""Builds the `nsys profile` command that captures an evidence with the installed nsys, and runs it.

`EVIDENCES` lists the trace sets and options per evidence. Options that the installed nsys lacks are left out or
replaced, with a note to the user for each.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.capture.engine_presets import ENGINE_PRESETS
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.nsys.nsys_program import Nsys

SUFFIX = ".nsys-rep"
_STDERR = 2

_SAMPLING = {"--sample": "process-tree", "--backtrace": "fp", "--cpuctxsw": "process-tree"}
_NO_SAMPLING = {"--sample": "none", "--cpuctxsw": "none"}


@dataclass(frozen=True)
class CaptureEvidence:
    """The capture settings of one kind of evidence: APIs to trace, nsys options, and the program's environment."""

    purpose: str
    trace: tuple[str, ...]
    options: dict[str, str]
    environment: dict[str, str]
    operators: bool = False
    """Switch on PyTorch's operator ranges."""

    @property
    def samples(self) -> bool:
        """True if the capture takes CPU samples, which the machine must permit."""
        return self.options.get("--sample", "none") != "none"


EVIDENCES = {
    "ranges": CaptureEvidence(
        purpose="exact library time, from the ranges that cuBLAS and cuBLASLt mark",
        trace=("cuda", "nvtx", "osrt", "cublas-verbose", "cudnn"),
        options=_NO_SAMPLING,
        environment={"CUBLAS_NVTX_LEVEL": "2", "CUBLASLT_NVTX_LEVEL": "2"},
    ),
    "samples": CaptureEvidence(
        purpose="library time and the profiler's share, estimated from 8000 call chains per second",
        trace=("cuda", "nvtx", "osrt"),
        options=_SAMPLING | {"--sampling-period": "125000", "--samples-per-backtrace": "1"},
        environment={},
    ),
    "operators": CaptureEvidence(
        purpose="the cost of each framework operator, and library time by subtraction",
        trace=("cuda", "nvtx", "osrt"),
        options=_NO_SAMPLING,
        environment={},
        operators=True,
    ),
    "launch-chains": CaptureEvidence(
        purpose="which launches go through a library, from the call chain of every kernel launch",
        trace=("cuda", "nvtx", "osrt"),
        options=_SAMPLING | {"--cudabacktrace": "kernel:0"},
        environment={},
    ),
    "light": CaptureEvidence(
        purpose="HDBI only, with the least overhead",
        trace=("cuda", "nvtx"),
        options=_NO_SAMPLING,
        environment={},
    ),
}
"""The evidences of `capture --evidence`; the first is the default."""

_REPLACED_TRACES = {"cublas-verbose": "cublas"}
_OPTIONAL_TRACES = frozenset({"cudnn"})
"""APIs that some nsys versions cannot trace; leaving them out makes no note, because few programs use them."""

_GRAPH_ROWS_SINCE = (2025, 1, 0)
"""From this version on, exports have a row for a graph traced as a whole; exports of 2023.4 have none."""

_EMIT_NVTX = "run the model inside 'with torch.autograd.profiler.emit_nvtx():'"


@dataclass(frozen=True)
class Plan:
    """A capture: the command, the path of the report it writes, and notes on options that had to change."""

    command: tuple[str, ...]
    report: Path
    notes: tuple[str, ...]


def plan(
    nsys: Nsys,
    evidence: str,
    report: Path,
    program: Sequence[str],
    *,
    engine: str | None = None,
    capture_range: str | None = None,
    extra: Sequence[str] = (),
    force: bool = False,
) -> Plan:
    """Return the command that captures `program` for an evidence, using only options of the installed nsys.

    `report` is the path of the report with or without its suffix. `engine` is one of `ENGINE_PRESETS`. `capture_range`
    is `cudaProfilerApi` or `nvtx:RANGE[@DOMAIN]`, if the program marks the part to capture. `extra` are nsys options
    that are appended unchanged. Raises TaxbreakError for an unknown evidence or capture range.
    """
    if evidence not in EVIDENCES:
        raise TaxbreakError(f"--evidence {evidence!r}: not one of {', '.join(EVIDENCES)}")
    settings = EVIDENCES[evidence]
    if "%" in report.name:
        raise TaxbreakError(f"-o {report}: nsys reads '%' as a pattern; give a plain name")
    report = report if report.suffix == SUFFIX else report.with_name(report.name + SUFFIX)
    notes: list[str] = []
    options = {"--trace": ",".join(_traces(nsys, settings, notes))}
    if "osrt" in settings.trace:
        # 1000 ns is the documented default, but without the option 2023.4 records every call, down to 30 ns
        options["--osrt-threshold"] = "1000"
    options |= settings.options
    whole_graphs = evidence == "light" and nsys.version is not None and nsys.version >= _GRAPH_ROWS_SINCE
    options["--cuda-graph-trace"] = "graph" if whole_graphs else "node"
    environment = dict(settings.environment)
    if engine is not None:
        preset = ENGINE_PRESETS[engine]
        options |= preset.options
        environment |= preset.environment
        notes.append(f"{engine}: {preset.hint}")
    if settings.operators:
        _add_operators(nsys, options, notes)
    if capture_range is not None:
        options |= _capture_range(capture_range, environment)
    kept = {name: value for name, value in options.items() if _has_option(nsys, name, notes)}
    if environment:
        kept["--env-var"] = ",".join(f"{name}={value}" for name, value in environment.items())
    if not nsys.profile_options:
        notes.append("the help of 'nsys profile' cannot be read, so its options are not known")
    command = (
        "nsys", "profile", *(f"{name}={value}" for name, value in kept.items()),
        f"--output={report}", f"--force-overwrite={'true' if force else 'false'}", *extra, *program,
    )  # fmt: skip
    return Plan(command, report, tuple(notes))


def _traces(nsys: Nsys, settings: CaptureEvidence, notes: list[str]) -> list[str]:
    known = nsys.option_values("--trace")
    traces = []
    for name in settings.trace:
        trace = name if not known or name in known else _REPLACED_TRACES.get(name)
        if trace is not None and (not known or trace in known):
            traces.append(trace)
        elif name not in _OPTIONAL_TRACES:
            notes.append(f"nsys {nsys.release} cannot trace {name}: left out")
    return traces


def _add_operators(nsys: Nsys, options: dict[str, str], notes: list[str]) -> None:
    if not nsys.profile_options or "--pytorch" in nsys.profile_options:
        options["--pytorch"] = "autograd-nvtx"
    else:
        notes.append(f"nsys {nsys.release} cannot switch on PyTorch's operator ranges: {_EMIT_NVTX}")


def _capture_range(text: str, environment: dict[str, str]) -> dict[str, str]:
    kind, _, name = text.partition(":")
    if kind == "cudaProfilerApi" and not name:
        chosen = {"--capture-range": "cudaProfilerApi"}
    elif kind == "nvtx" and name:
        chosen = {"--capture-range": "nvtx", "--nvtx-capture": name}
        # by default nsys matches registered NVTX strings only, but frameworks push plain strings
        environment["NSYS_NVTX_PROFILER_REGISTER_ONLY"] = "0"
    else:
        raise TaxbreakError(f"--capture-range {text!r}: write cudaProfilerApi or nvtx:RANGE[@DOMAIN]")
    return chosen | {"--capture-range-end": "stop"}


def _has_option(nsys: Nsys, option: str, notes: list[str]) -> bool:
    if not nsys.profile_options or option in nsys.profile_options:
        return True
    notes.append(f"nsys {nsys.release} has no option {option}: left out")
    return False


def check_targets(report: Path, force: bool) -> None:
    """Raise TaxbreakError if the report or its export exists and `force` is not given."""
    from taxbreak_nsys.output.output_files import check_target

    for path in (report, report.with_suffix(".sqlite")):
        check_target(path, force)


def run_plan(plan: Plan) -> int:
    """Run the capture and return the program's exit status; the program's stdout goes to stderr.

    Raises TaxbreakError if nsys writes no report. Ctrl-C ends the program, and the report is still written.
    """
    before = plan.report.stat().st_mtime_ns if plan.report.exists() else None
    try:
        process = subprocess.Popen(plan.command, stdout=_STDERR)
    except OSError as error:
        raise TaxbreakError(f"{plan.command[0]}: cannot be run ({error.strerror})") from error
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            continue  # nsys received the signal too and is writing the report
    if not plan.report.exists() or plan.report.stat().st_mtime_ns == before:
        ranged = any(part.startswith("--capture-range=") for part in plan.command)
        why = "the program never reached the capture range" if ranged else f"it ended with status {status}"
        raise TaxbreakError(f"{plan.report}: nsys wrote no report ({why}); see its messages above")
    return status


def export_report(nsys: Nsys, report: Path) -> Path:
    """Export a report to the `.sqlite` beside it and return that path; raises TaxbreakError if the export fails."""
    from taxbreak_nsys.read.nsys_export import export_to

    target = report.with_suffix(".sqlite")
    try:
        export_to(str(nsys.program), report, target)
    except OSError as error:
        raise TaxbreakError(f"{target}: cannot be written ({error.strerror})") from error
    return target


def no_cuda_message(plan: Plan, export: Path) -> str:
    """Return why a capture may contain no CUDA work, and the remedy; untraced child processes are the usual cause."""
    children = next((part for part in plan.command if part.startswith("--trace-fork-before-exec=")), None)
    if children is None or children.endswith("=false"):
        return (
            f"{export}: the program made no CUDA calls, or its children were not traced: add "
            "--nsys=--trace-fork-before-exec=true (--engine sets it)"
        )
    ranged = any(part.startswith("--capture-range=") for part in plan.command)
    where = " inside the capture range" if ranged else ""
    return f"{export}: the program and its children made no CUDA calls with device work{where}"
