"""The named reports as Arrow tables with nsys's column names, from which all output formats are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import ReportName
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN
from taxbreak_nsys.output.arrow_rows import (
    HEAD_TITLES,
    dictionary_column,
    percent_share,
    plain_columns,
    rows_table,
    stats_titles,
)
from taxbreak_nsys.output.detail_tables import DETAIL_REPORTS

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Phase, Result

DEFAULT_REPORT = ReportName.SUM.value

_COUNTS = {name: name.replace("_", " ").title() for name in COUNTS}


def result_table(result: Result, report: str) -> pa.Table:
    """Return one named report (`REPORTS`) as a table; times are integer ns, absent values null."""
    return plain_columns(coded_table(result, report))


def coded_table(result: Result, report: str) -> pa.Table:
    """Return one named report with some columns of values by code: long listings take less memory."""
    return REPORTS[report](result)


def _summary_row(entry: Phase) -> dict[str, Any]:
    taxbreak, samples, corrected = entry.taxbreak, entry.samples, entry.corrected
    interval = taxbreak.library_interval_ns or (None, None)
    return (
        {
            "phase": entry.phase,
            "process": entry.process,
            "thread": entry.thread,
            "instances": entry.instances,
            "wall_ns": entry.wall_ns,
            "wall_median_ns": entry.wall_median_ns,
            "wall_p99_ns": entry.wall_p99_ns,
            "range_ns": entry.range_ns,
            "device_busy_percent": percent_share(entry.device.busy_share),
            "comm_ns": entry.communication.comm_ns if entry.communication else None,
            "comm_wait_ns": entry.communication.comm_wait_ns if entry.communication else None,
            "hdbi": taxbreak.hdbi,
            "device_active_ns": entry.device.active_ns,
            "kernel_sum_ns": entry.device.kernel_sum_ns,
            "idle_ns": entry.device.idle_ns,
            "delta_ft_ns": taxbreak.delta_ft_ns,
            "delta_ct_ns": taxbreak.delta_ct_ns,
            "delta_kt_ns": taxbreak.delta_kt_ns,
            "launch_excess_ns": taxbreak.launch_excess_ns,
            "t_orchestration_ns": taxbreak.t_orchestration_ns,
            "evidence": taxbreak.evidence,
            "delta_ct_low_ns": interval[0],
            "delta_ct_high_ns": interval[1],
            "library_bound": taxbreak.library_bound,
            "hdbi_without_profiler": taxbreak.hdbi_without_profiler,
            "profiler_ns": samples.profiler_ns if samples else None,
            "off_cpu_ns": samples.off_cpu_ns if samples else None,
            "dilation": corrected.dilation if corrected else None,
            "hdbi_corrected": corrected.hdbi if corrected else None,
            "kernel_launches": entry.launches.kernel,
            "graph_launches": entry.launches.graph,
            "memory_launches": entry.launches.memory,
            "unmeasured_graph_launches": entry.launches.unmeasured_graph,
            "kernels": entry.kernels,
            "target": entry.verdict.target,
            "exposed_percent": percent_share(entry.verdict.exposed_share),
            "verdict": entry.verdict.why,
            "phase_source": entry.phase_source.name or entry.phase_source.kind,
            "phase_confidence": entry.phase_source.confidence,
        }
        | {key: getattr(entry.steps, key, None) for key in _COUNTS}
        | {key: getattr(entry.steps, key, None) for key in ("kernels_per_token", "launches_per_token")}
        | {f"state_{name}": ns for name, ns in entry.states_ns.items()}
        | {f"exposed_{name}": entry.exposed_ns[name] if entry.exposed_ns else None for name in STATES}
    )


_SUMMARY_TITLES = (
    HEAD_TITLES
    | {
        "instances": "Instances",
        "wall_ns": "Wall (ns)",
        "wall_median_ns": "Wall Med (ns)",
        "wall_p99_ns": "Wall p99 (ns)",
        "range_ns": "Marks (ns)",
        "device_busy_percent": "Device Busy (%)",
        "comm_ns": "Communication (ns)",
        "comm_wait_ns": "Waiting For Ranks (ns)",
        "hdbi": "HDBI",
        "device_active_ns": "Device Active (ns)",
        "kernel_sum_ns": "Kernel Sum (ns)",
        "idle_ns": "Device Idle (ns)",
        "delta_ft_ns": "delta_ft (ns)",
        "delta_ct_ns": "delta_ct (ns)",
        "delta_kt_ns": "delta_kt (ns)",
        "launch_excess_ns": "Launch Excess (ns)",
        "t_orchestration_ns": "T_Orchestration (ns)",
        "evidence": "Evidence",
        "delta_ct_low_ns": "delta_ct Low (ns)",
        "delta_ct_high_ns": "delta_ct High (ns)",
        "library_bound": "Library Bound",
        "hdbi_without_profiler": "HDBI without Profiler",
        "profiler_ns": "Profiler (ns)",
        "off_cpu_ns": "Off CPU (ns)",
        "dilation": "Dilation",
        "hdbi_corrected": "HDBI Corrected",
        "kernel_launches": "Kernel Launches",
        "graph_launches": "Graph Launches",
        "memory_launches": "Memory Launches",
        "unmeasured_graph_launches": "Unmeasured Graph Launches",
        "kernels": "Kernels",
        "target": "Target",
        "exposed_percent": "Exposed (%)",
        "verdict": "Verdict",
        "phase_source": "Phase Source",
        "phase_confidence": "Phase Confidence",
    }
    | _COUNTS
    | {"kernels_per_token": "Kernels Per Token", "launches_per_token": "Launches Per Token"}
    | {f"state_{name}": f"{name} (ns)" for name in STATES}
    | {f"exposed_{name}": f"{name} Exposed (ns)" for name in STATES}
)


def _sum(result: Result) -> pa.Table:
    return rows_table(map(_summary_row, result.entries), _SUMMARY_TITLES)


def _kern_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "device_ns": "Total Time (ns)", "instances": "Instances"}
        | stats_titles("device")
        | {"launches": "Launches", "launch_ns": "Launch Time (ns)"}
        | stats_titles("launch", "Launch ")
        | {
            "delta_ft_ns": "delta_ft (ns)",
            "delta_ct_ns": "delta_ct (ns)",
            "library_mediated": "Library-Mediated",
            "why": "Why",
            "operator": "Operator",
            "name": "Name",
        }
    )
    rows = (row | {"time_percent": percent_share(row["device_share"])} for row in result.kernel_rows)
    return rows_table(rows, titles)


def _op_sum(result: Result) -> pa.Table:
    totals: dict[tuple[Any, ...], int] = {}
    for row in result.operator_rows:
        key = (row["phase"], row["process"], row["thread"])
        totals[key] = totals.get(key, 0) + row["self_ns"]

    def with_percent(row: dict[str, Any]) -> dict[str, Any]:
        total = totals[(row["phase"], row["process"], row["thread"])]
        return row | {"time_percent": percent_share(row["self_ns"] / total if total else None)}

    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "self_ns": "Self Time (ns)", "total_ns": "Total Time (ns)"}
        | {"instances": "Instances"}
        | stats_titles("total")
        | {
            "delta_ft_ns": "delta_ft (ns)",
            "delta_ct_ns": "delta_ct (ns)",
            "launch_ns": "Launch Time (ns)",
            "launches": "Launches",
            "kernels": "Kernels",
            "device_ns": "Device Time (ns)",
            "operator": "Operator",
        }
    )
    return rows_table(map(with_percent, result.operator_rows), titles)


def _api_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "total_ns": "Total Time (ns)", "instances": "Instances"}
        | stats_titles("total")
        | {"blocked_ns": "Blocked (ns)", "launches": "Launches", "name": "Name"}
    )
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in result.api_rows), titles)


def _samples(rows: Iterable[dict[str, Any]], titles: dict[str, str]) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {
            "time_percent": "Time (%)",
            "total_ns": "Total Time (ns)",
            "samples": "Samples",
            "between_ns": "Between (ns)",
        }
        | {"layer": "Layer", "kind": "Kind", "module": "Module", "file": "File"}
        | titles
    )
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in rows), titles)


def _sample_sum(result: Result) -> pa.Table:
    return _samples(result.sample_rows, {})


def _symbol_sum(result: Result) -> pa.Table:
    return _samples(result.symbol_rows, {"symbol": "Symbol"})


def _trace(result: Result) -> pa.Table:
    if result.intervals is None:
        raise TaxbreakError(f"{result.report.path}: its intervals were not kept; analyze it with intervals=True")
    return result.intervals


def _steps(result: Result) -> pa.Table:
    """Return one row per instance: the counts in its NVTX mark, its times and its launches."""
    import pyarrow as pa

    from taxbreak_nsys.measure.step_numbers import step_numbers

    instances, steps = result.instances, result.step_sums
    unknown = steps.unmeasured
    counts = {
        title: pa.array(instances.counts[:, k], mask=instances.counts[:, k] == UNKNOWN)
        for k, title in enumerate(_COUNTS.values())
    }
    return pa.table(
        {
            "Start (ns)": instances.start,
            "Wall (ns)": steps.wall,
            "Phase": dictionary_column(instances.label, instances.labels),
            "Instance": step_numbers(instances),
            "PID": (instances.thread >> 24) & 0xFFFFFF,
            "TID": instances.thread & 0xFFFFFF,
        }
        | counts
        | {
            "Kernels": steps.kernels,
            "Kernel Launches": steps.kernel_launches,
            "Graph Launches": steps.graph_launches,
            "Device Active (ns)": pa.array(steps.active, mask=unknown),
            "Device Idle (ns)": pa.array(steps.exposed.sum(axis=1), mask=unknown),
        }
        | {f"{name} (ns)": steps.states[:, k] for k, name in enumerate(STATES)}
    )


REPORTS: dict[str, Callable[[Result], pa.Table]] = {
    "taxbreak_sum": _sum,
    "taxbreak_kern_sum": _kern_sum,
    "taxbreak_op_sum": _op_sum,
    "taxbreak_api_sum": _api_sum,
    "taxbreak_sample_sum": _sample_sum,
    "taxbreak_symbol_sum": _symbol_sum,
    **DETAIL_REPORTS,
    "taxbreak_step_trace": _steps,
    "taxbreak_trace": _trace,
}
"""The named reports; the first is the default."""

INTERVALS = "taxbreak_trace"
"""The report of single intervals, which the analysis must keep for it (`intervals=True`)."""
