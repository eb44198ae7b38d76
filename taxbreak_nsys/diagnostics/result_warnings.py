"""Warnings: what limits a result, each with the flags or the step that would answer better."""

from __future__ import annotations

from taxbreak_nsys.diagnostics import misleading, sample_warnings
from taxbreak_nsys.diagnostics.engine_warnings import engine_warnings
from taxbreak_nsys.model.launches import T_SYS_MIN_LAUNCHES, T_SYS_PAPER_NS
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.phases import ALL
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.totals import Totals

_RANGES_FLAGS = (
    "nsys profile -t cuda,nvtx,osrt,cublas-verbose -e CUBLAS_NVTX_LEVEL=2,CUBLASLT_NVTX_LEVEL=2 --cuda-graph-trace=node"
)


def result_warnings(result: Result, totals: Totals) -> tuple[ReportWarning, ...]:
    """Return the warnings that a result, and the sums that it is made of, call for."""
    found: list[ReportWarning] = []
    for check in (_unmeasured, _evidence, _t_sys, _phases, _cut, _outside, _os_runtime):
        found += check(result, totals)
    found += engine_warnings(result, totals)
    return (*found, *sample_warnings.sample_warnings(result, totals), *misleading.misleading_warnings(result, totals))


def reading_warnings(database: Database) -> tuple[ReportWarning, ...]:
    """Return the warnings that a report calls for as it is read; call this after its columns were read."""
    found = []
    left_out = database.cleaning.left_out
    if left_out:
        rows = [f"{count} {subject.replace('_', ' ')} {why}" for (subject, why), count in sorted(left_out.items())]
        found.append(
            ReportWarning(
                "rows_left_out",
                f"damaged rows were left out: {', '.join(rows)}",
                "export the report again; if they stay, capture again",
            )
        )
    if "META_DATA_CAPTURE" not in database.schema and database.path.is_dir():
        found.append(
            ReportWarning(
                "settings_not_exported",
                "the folder has no table META_DATA_CAPTURE: the settings of the capture are not known, and warnings "
                "that depend on them may be missing or wrong",
                "export with an nsys of 2024 or later, or to SQLite: 'nsys export -t sqlite REPORT.nsys-rep'",
            )
        )
    lost = [str(row["what"]) for row in database.query("diagnostics").to_pylist()]
    if lost:
        found.append(
            ReportWarning(
                "events_lost",
                f"nsys reports that events were lost ({', '.join(lost)}): counts and times may be too low",
                "read the diagnostics in the nsys GUI; capture less, or for a shorter time",
            )
        )
    return tuple(found)


def _unmeasured(result: Result, totals: Totals) -> list[ReportWarning]:
    phases = sorted({e.phase for e in result.entries if e.launches.unmeasured_graph})
    if not phases:
        return []
    return [
        ReportWarning(
            "unmeasured_graphs",
            f"CUDA graph launches in {', '.join(phases)} left no device time in the report: device time, exposed "
            "time and HDBI of those phases are not measured",
            "capture with 'nsys profile --cuda-graph-trace=node'",
        )
    ]


def _evidence(result: Result, totals: Totals) -> list[ReportWarning]:
    found = []
    weak = sorted({e.phase for e in result.entries if e.taxbreak.evidence == "none"})
    if weak:
        found.append(
            ReportWarning(
                "no_library_evidence",
                f"nothing in the report tells library time from framework time in {', '.join(weak)}: delta_ct is "
                "not measured and delta_ft holds both (HDBI does not need the split)",
                f"capture with '{_RANGES_FLAGS}'",
            )
        )
    estimated = sorted({e.phase for e in result.entries if e.taxbreak.evidence == "subtractive"})
    if estimated:
        base = result.t_base_ns
        found.append(
            ReportWarning(
                "subtractive_estimate",
                f"library time in {', '.join(estimated)} is an estimate, not measured: dispatch time above that of "
                f"framework-native launches ({base} ns); operator ranges themselves slow the host",
                f"capture with '{_RANGES_FLAGS}'",
            )
        )
    libraries = {name.lower() for name in totals.libraries}
    by_ranges = any(e.taxbreak.evidence == "ranges" for e in result.entries)
    if by_ranges and not any(name.startswith("cublas") for name in libraries):
        found.append(
            ReportWarning(
                "partial_library_ranges",
                f"only {', '.join(sorted(totals.libraries))} marked library ranges: cuBLAS time, if "
                "there is any, is counted as framework time",
                f"capture with '{_RANGES_FLAGS}'",
            )
        )
    return found


def _t_sys(result: Result, totals: Totals) -> list[ReportWarning]:
    if result.t_sys_source != "paper":
        return []
    return [
        ReportWarning(
            "t_sys_assumed",
            f"fewer than {T_SYS_MIN_LAUNCHES} kernel launches met an idle stream, so T_sys is the paper's "
            f"{T_SYS_PAPER_NS} ns for H100 and H200, not measured",
            "give --null-report with a capture of an empty kernel on the same machine, or --t-sys",
        )
    ]


def _phases(result: Result, totals: Totals) -> list[ReportWarning]:
    found = []
    remedy = "mark prefill and decode with NVTX ranges in the program, and capture with 'nsys profile -t cuda,nvtx'"
    whole = [e for e in result.entries if e.phase_source.kind == ALL]
    if whole:
        why = sorted({e.phase_source.evidence for e in whole if e.phase_source.evidence})
        found.append(
            ReportWarning(
                "no_phases",
                f"nothing divides a thread into phases, so it is one phase, '{ALL}': " + ("; ".join(why) or "no marks"),
                remedy,
            )
        )
    auto = [e for e in result.entries if e.phase_source.kind == "auto"]
    if auto:
        least = min(e.phase_source.confidence or 0.0 for e in auto)
        labels = ", ".join(sorted({e.phase for e in auto}))
        found.append(
            ReportWarning(
                "phases_found",
                f"nobody marked {labels}: they were found in the sequence of launches, with confidence {least:.2f} "
                f"({auto[0].phase_source.evidence})",
                remedy,
            )
        )
    return found


def _cut(result: Result, totals: Totals) -> list[ReportWarning]:
    cut = totals.instances.cut
    if not cut:
        return []
    return [
        ReportWarning(
            "instances_cut",
            f"{cut} instances reach beyond --start or --end and are left out",
            "widen the window",
        )
    ]


def _outside(result: Result, totals: Totals) -> list[ReportWarning]:
    found = []
    outside = result.outside
    if outside.kernels_without_launch:
        found.append(
            ReportWarning(
                "kernels_without_launch",
                f"{outside.kernels_without_launch} kernels have no launching call in the report (trimmed, cut short or "
                "launched by the device): they are in no phase, and host time may be missing",
                "capture the whole run, or from a moment when the device is idle",
            )
        )
    lone = totals.facts.lone_launches
    if lone:
        found.append(
            ReportWarning(
                "launches_without_kernel",
                f"{lone} kernel launch calls inside phases have no kernel in the report (cut short, or recorded into "
                "a CUDA graph): their time counts as runtime, and device time may be missing",
                "let the capture end after the device has finished",
            )
        )
    return found


def _os_runtime(result: Result, totals: Totals) -> list[ReportWarning]:
    if "osrt" in result.report.traced or totals.facts.has_os_calls:
        return []
    return [
        ReportWarning(
            "no_os_runtime",
            "OS runtime calls were not traced: time blocked in the operating system counts as framework time",
            "capture with 'nsys profile -t cuda,nvtx,osrt'",
        )
    ]
