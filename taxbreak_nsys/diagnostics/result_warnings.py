"""Warnings about data that the report lacks, which makes numbers null, a bound, an estimate or an assumption."""

from __future__ import annotations

from collections.abc import Sequence

from taxbreak_nsys.attribution.layers import LOWER
from taxbreak_nsys.diagnostics import misleading, sample_warnings
from taxbreak_nsys.diagnostics.engine_warnings import engine_warnings
from taxbreak_nsys.diagnostics.graph_warnings import graph_warnings
from taxbreak_nsys.diagnostics.sample_warnings import SAMPLE_FLAGS
from taxbreak_nsys.model.launches import T_SYS_MIN_LAUNCHES, T_SYS_PAPER_NS, TSys
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.phases import ALL
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.lost_events import lost_events
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.totals import Totals

_RANGES_FLAGS = (
    "nsys profile -t cuda,nvtx,osrt,cublas-verbose -e CUBLAS_NVTX_LEVEL=2,CUBLASLT_NVTX_LEVEL=2 --cuda-graph-trace=node"
)
_OFF_CPU = 20
"""A phase counts as off the CPU if its samples leave out more than 1 / 20 of its wall time."""


def result_warnings(result: Result, totals: Totals, lost: LostRows, t_sys: TSys) -> tuple[ReportWarning, ...]:
    """Return the warnings about a result and the totals behind it."""
    warnings = [*_lost(lost), *_t_sys(t_sys, totals), *graph_warnings(result)]
    for check in (_evidence, _bounds, _phases, _cut, _outside, _os_runtime):
        warnings += check(result, totals)
    warnings += engine_warnings(result, totals)
    return (
        *warnings,
        *sample_warnings.sample_warnings(result, totals),
        *misleading.misleading_warnings(result, totals),
    )


def reading_warnings(database: Database) -> tuple[ReportWarning, ...]:
    """Return the warnings about the reading of a report; call this after its columns were read."""
    warnings = []
    left_out = database.cleaning.left_out
    if left_out:
        rows = [f"{count} {subject.replace('_', ' ')} {why}" for (subject, why), count in sorted(left_out.items())]
        warnings.append(
            ReportWarning(
                "rows_left_out",
                f"damaged rows were left out: {', '.join(rows)}",
                "export the report again; if they stay, capture again",
            )
        )
    if "META_DATA_CAPTURE" not in database.schema and database.path.is_dir():
        warnings.append(
            ReportWarning(
                "settings_not_exported",
                "the folder has no table META_DATA_CAPTURE: the settings of the capture are not known, and warnings "
                "that depend on them may be missing or wrong",
                "export with an nsys of 2024 or later, or to SQLite: 'nsys export -t sqlite REPORT.nsys-rep'",
            )
        )
    lost = lost_events(database)
    if lost:
        causes = "; ".join(f"{trace}: {how}" for trace, how in lost.items())
        warnings.append(
            ReportWarning(
                "events_lost",
                f"events were lost ({causes}): counts and times may be too low",
                "read the diagnostics in the nsys GUI; capture less, or for a shorter time",
            )
        )
    return tuple(warnings)


def _lost(lost: LostRows) -> list[ReportWarning]:
    """Return the warning about instances whose CUDA rows the importer lost (method section 5.1)."""
    if not lost.counts and not lost.ends:
        return []
    count = sum(lost.counts.values())
    causes = list(lost.ends.values())
    if lost.few:
        causes.append(f"samples show the CUDA driver at work in {', '.join(lost.few)} where the rows are few")
    return [
        ReportWarning(
            "cuda_rows_lost",
            f"{'; '.join(causes)}: the importer lost the rest, so {count} instances are not measured and part of no "
            "sum",
            "import the .nsys-rep again with a newer nsys, or capture again for a shorter time",
        )
    ]


def _evidence(result: Result, totals: Totals) -> list[ReportWarning]:
    warnings = []
    measured = [e for e in result.entries if e.taxbreak.delta_ft_ns is not None]
    weak = sorted({e.phase for e in measured if e.taxbreak.evidence == "none"})
    if weak:
        warnings.append(
            ReportWarning(
                "no_library_evidence",
                f"nothing in the report distinguishes library time from framework time in {', '.join(weak)}: delta_ct "
                "is not measured and delta_ft holds both (HDBI does not need the split)",
                f"capture with '{_RANGES_FLAGS}'",
            )
        )
    estimated = sorted({e.phase for e in result.entries if e.taxbreak.evidence == "subtractive"})
    if estimated:
        warnings.append(
            ReportWarning(
                "subtractive_estimate",
                f"library time in {', '.join(estimated)} is an upper bound, not measured: the dispatch time of library "
                f"calls in excess of framework-native launches ({result.t_base_ns} ns) holds framework time as well",
                f"capture with '{_RANGES_FLAGS}'",
            )
        )
    return warnings


def _bounds(result: Result, totals: Totals) -> list[ReportWarning]:
    """Return the warning about phases whose libraries did not all mark ranges."""
    phases = sorted({e.phase for e in result.entries if e.taxbreak.library_bound == LOWER})
    if not phases:
        return []
    silent = sorted({name for e in result.entries for name in e.taxbreak.unmarked_libraries})
    marking = ", ".join(sorted(totals.marking_libraries)) or "another library"
    return [
        ReportWarning(
            "partial_library_ranges",
            f"{', '.join(silent)} launched kernels in {', '.join(phases)} and marked no range ({marking} did): "
            "delta_ct is a lower bound, and the rest of the library time counts as framework time",
            _silent_library_remedy(silent),
        )
    ]


def _silent_library_remedy(silent: Sequence[str]) -> str:
    """Return the remedy for libraries that marked no range: cuBLAS can mark ranges, cuDNN 9 cannot."""
    if "cuBLAS" in silent:
        return f"capture with '{_RANGES_FLAGS}'"
    return f"add CPU samples, which see every library: '{SAMPLE_FLAGS}'"


def _t_sys(t_sys: TSys, totals: Totals) -> list[ReportWarning]:
    """Return the warnings about T_sys: assumed, lowered, or above the measured launches."""
    warnings = []
    remedy = "give --null-report with a capture of an empty kernel on the same machine, or --t-sys"
    if t_sys.source == "paper":
        warnings.append(
            ReportWarning(
                "t_sys_assumed",
                f"fewer than {T_SYS_MIN_LAUNCHES} kernel launches met an idle stream, so T_sys is the paper's "
                f"{T_SYS_PAPER_NS} ns for H100 and H200, not measured",
                remedy,
            )
        )
    if t_sys.lowered_from is not None:
        warnings.append(
            ReportWarning(
                "t_sys_lowered",
                f"launches of this report reached the device in {t_sys.ns} ns, less than the {t_sys.lowered_from} ns "
                f"of its source ({t_sys.source}): a floor cannot exceed that, so T_sys is {t_sys.ns} ns",
                remedy,
            )
        )
    measured = totals.latency.percentile(1)
    if t_sys.source == "given" and measured is not None and t_sys.ns > measured:
        warnings.append(
            ReportWarning(
                "t_sys_above_measured",
                f"--t-sys is {t_sys.ns} ns, and launches of this report reached the device in {measured} ns: delta_kt "
                "is more than launching took, and HDBI too low",
                "leave --t-sys out, or give the value of this machine",
            )
        )
    return warnings


def _phases(result: Result, totals: Totals) -> list[ReportWarning]:
    warnings = []
    remedy = "mark prefill and decode with NVTX ranges in the program, and capture with 'nsys profile -t cuda,nvtx'"
    whole = [e for e in result.entries if e.phase_source.kind == ALL]
    if whole:
        why = sorted({e.phase_source.evidence for e in whole if e.phase_source.evidence})
        warnings.append(
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
        warnings.append(
            ReportWarning(
                "phases_found",
                f"nobody marked {labels}: they were found in the sequence of launches, with confidence {least:.2f} "
                f"({auto[0].phase_source.evidence})",
                remedy,
            )
        )
    return warnings


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
    warnings = []
    outside = result.outside
    if outside.kernels_without_launch:
        warnings.append(
            ReportWarning(
                "kernels_without_launch",
                f"{outside.kernels_without_launch} kernels have no launching call in the report (trimmed, cut short or "
                "launched by the device): they are in no phase, and host time may be missing",
                "capture the whole run, or from a moment when the device is idle",
            )
        )
    lone = totals.facts.lone_launches
    if lone:
        warnings.append(
            ReportWarning(
                "launches_without_kernel",
                f"{lone} kernel launch calls inside phases have no kernel in the report (cut short, or recorded into "
                "a CUDA graph): their time counts as runtime, and device time may be missing",
                "let the capture end after the device has finished",
            )
        )
    return warnings


def _os_runtime(result: Result, totals: Totals) -> list[ReportWarning]:
    if totals.facts.has_os_calls:
        return []
    if "osrt" in result.report.traced:
        idle = sorted(
            {
                e.phase
                for e in result.entries
                if e.samples and e.samples.count and e.samples.off_cpu_ns * _OFF_CPU > e.wall_ns > 0
            }
        )
        # a program may well make no call above the threshold; one that is off the CPU does
        if not idle:
            return []
        return [
            ReportWarning(
                "os_runtime_lost",
                "OS runtime calls were traced and the report holds none, though samples show threads off the CPU in "
                f"{', '.join(idle)}: time blocked in the operating system counts as framework time",
                "import the .nsys-rep again, or capture again with a lower --osrt-threshold",
            )
        ]
    return [
        ReportWarning(
            "no_os_runtime",
            "OS runtime calls were not traced: time blocked in the operating system counts as framework time",
            "capture with 'nsys profile -t cuda,nvtx,osrt'",
        )
    ]
