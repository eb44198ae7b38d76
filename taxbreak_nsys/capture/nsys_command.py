"""Which `nsys profile` command captures what an evidence needs, with the nsys that is installed.

The wishes of an evidence stand in one table; what the installed nsys does not have is left out or replaced, and
each such change is a note to the user.
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
    """What to capture for one kind of evidence: APIs to trace, options, and the program's environment."""

    purpose: str
    trace: tuple[str, ...]
    options: dict[str, str]
    environment: dict[str, str]
    operators: bool = False
    """Whether PyTorch's operator ranges are wanted."""

    @property
    def samples(self) -> bool:
        """Whether CPU samples are taken, which the machine must permit."""
        return self.options.get("--sample", "none") != "none"


EVIDENCES = {
    "ranges": CaptureEvidence(
        "exact library time, from the ranges that cuBLAS and cuBLASLt mark",
        ("cuda", "nvtx", "osrt", "cublas-verbose", "cudnn"),
        _NO_SAMPLING,
        {"CUBLAS_NVTX_LEVEL": "2", "CUBLASLT_NVTX_LEVEL": "2"},
    ),
    "samples": CaptureEvidence(
        "library time and the profiler's share, estimated from 8000 call chains a second",
        ("cuda", "nvtx", "osrt"),
        _SAMPLING | {"--sampling-period": "125000", "--samples-per-backtrace": "1"},
        {},
    ),
    "operators": CaptureEvidence(
        "the cost of each framework operator, and library time by subtraction",
        ("cuda", "nvtx", "osrt"),
        _NO_SAMPLING,
        {},
        operators=True,
    ),
    "launch-chains": CaptureEvidence(
        "which launches go through a library, from the call chain of every kernel launch",
        ("cuda", "nvtx", "osrt"),
        _SAMPLING | {"--cudabacktrace": "kernel:0"},
        {},
    ),
    "light": CaptureEvidence("HDBI alone, at the least cost", ("cuda", "nvtx"), _NO_SAMPLING, {}),
}
"""The evidences that `capture` knows; the first is the default."""

_REPLACED_TRACES = {"cublas-verbose": "cublas"}
_OPTIONAL_TRACES = frozenset({"cudnn"})
"""APIs that some versions cannot trace and whose absence needs no words: most programs do not miss them."""

_GRAPH_ROWS_SINCE = (2025, 1, 0)
"""From here on a graph traced as a whole surely has a row in the export; 2023.4 has none."""

_EMIT_NVTX = "run the model inside 'with torch.autograd.profiler.emit_nvtx():'"


@dataclass(frozen=True)
class Plan:
    """A capture: the command to run, where its report will lie, and what is other than wished."""

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
    """Return the command that captures `program` for an evidence, with what the installed nsys can do.

    `report` is the path of the report with or without its suffix. `engine` is one of `ENGINE_PRESETS`. `capture_range`
    is `cudaProfilerApi` or `nvtx:RANGE[@DOMAIN]` where the program marks the part to capture; `extra` are options of
    nsys that are put last, as they are. Raises TaxbreakError for an unknown evidence or capture range.
    """
    if evidence not in EVIDENCES:
        raise TaxbreakError(f"--evidence {evidence!r}: not one of {', '.join(EVIDENCES)}")
    wish = EVIDENCES[evidence]
    if "%" in report.name:
        raise TaxbreakError(f"-o {report}: nsys reads '%' as a pattern; give a plain name")
    report = report if report.suffix == SUFFIX else report.with_name(report.name + SUFFIX)
    notes: list[str] = []
    options = {"--trace": ",".join(_traces(nsys, wish, notes))}
    if "osrt" in wish.trace:
        # the documented default; without the option 2023.4 records every call, down to 30 ns
        options["--osrt-threshold"] = "1000"
    options |= wish.options
    whole = evidence == "light" and nsys.version is not None and nsys.version >= _GRAPH_ROWS_SINCE
    options["--cuda-graph-trace"] = "graph" if whole else "node"
    environment = dict(wish.environment)
    if engine is not None:
        preset = ENGINE_PRESETS[engine]
        options |= preset.options
        environment |= preset.environment
        notes.append(f"{engine}: {preset.hint}")
    if wish.operators:
        _add_operators(nsys, options, notes)
    if capture_range is not None:
        options |= _capture_range(capture_range, environment)
    kept = {name: value for name, value in options.items() if _has(nsys, name, notes)}
    if environment:
        kept["--env-var"] = ",".join(f"{name}={value}" for name, value in environment.items())
    if not nsys.profile_options:
        notes.append("the help of 'nsys profile' cannot be read, so it is not known which options it has")
    command = (
        "nsys", "profile", *(f"{name}={value}" for name, value in kept.items()),
        f"--output={report}", f"--force-overwrite={'true' if force else 'false'}", *extra, *program,
    )  # fmt: skip
    return Plan(command, report, tuple(notes))


def _traces(nsys: Nsys, wish: CaptureEvidence, notes: list[str]) -> list[str]:
    known = nsys.values_of("--trace")
    traces = []
    for name in wish.trace:
        found = name if not known or name in known else _REPLACED_TRACES.get(name)
        if found is not None and (not known or found in known):
            traces.append(found)
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
        # frameworks push plain strings, which nsys does not look at unless told so
        environment["NSYS_NVTX_PROFILER_REGISTER_ONLY"] = "0"
    else:
        raise TaxbreakError(f"--capture-range {text!r}: write cudaProfilerApi or nvtx:RANGE[@DOMAIN]")
    return chosen | {"--capture-range-end": "stop"}


def _has(nsys: Nsys, option: str, notes: list[str]) -> bool:
    if not nsys.profile_options or option in nsys.profile_options:
        return True
    notes.append(f"nsys {nsys.release} has no option {option}: left out")
    return False


def check_targets(report: Path, force: bool) -> None:
    """Raise TaxbreakError where the report or its export is there already and may not be replaced."""
    from taxbreak_nsys.output.output_files import check_target

    for path in (report, report.with_suffix(".sqlite")):
        check_target(path, force)


def run_plan(plan: Plan) -> int:
    """Run the capture and return the program's exit status; what it prints goes to stderr.

    Raises TaxbreakError where no report comes of it. Ctrl-C ends the program, and the report is still written.
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
            continue  # nsys has had the signal too, and is writing the report
    if not plan.report.exists() or plan.report.stat().st_mtime_ns == before:
        ranged = any(part.startswith("--capture-range=") for part in plan.command)
        why = "the program never reached the capture range" if ranged else f"it ended with status {status}"
        raise TaxbreakError(f"{plan.report}: nsys wrote no report ({why}); see its messages above")
    return status


def export_report(nsys: Nsys, report: Path) -> Path:
    """Export a report to the `.sqlite` beside it and return that; raises TaxbreakError."""
    from taxbreak_nsys.read.nsys_export import export_to

    target = report.with_suffix(".sqlite")
    try:
        export_to(str(nsys.program), report, target)
    except OSError as error:
        raise TaxbreakError(f"{target}: cannot be written ({error.strerror})") from error
    return target


def no_cuda_message(plan: Plan, export: Path) -> str:
    """Return why a capture may hold no CUDA work, with what to change: the program's own children come first."""
    children = next((part for part in plan.command if part.startswith("--trace-fork-before-exec=")), None)
    if children is None or children.endswith("=false"):
        return (
            f"{export}: the program made no CUDA calls, or its children were not traced: add "
            "--nsys=--trace-fork-before-exec=true (--engine sets it)"
        )
    ranged = any(part.startswith("--capture-range=") for part in plan.command)
    where = " inside the capture range" if ranged else ""
    return f"{export}: the program and its children made no CUDA calls with device work{where}"
