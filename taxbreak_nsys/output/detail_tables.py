"""Named reports of details as Arrow tables: idle gaps, nested ranges, kernel classes, fusion, call tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.name_rules import GIL_WAITED, STATES
from taxbreak_nsys.output.arrow_rows import HEAD_TITLES, dictionary_column, percent_share, rows_table, stats_titles
from taxbreak_nsys.output.units import show_share, show_time

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Result

TABLES: dict[str, frozenset[str]] = {
    "taxbreak_gap_sum": frozenset({"gaps"}),
    "taxbreak_gap_trace": frozenset({"gap_trace"}),
    "taxbreak_nvtx_sum": frozenset({"ranges"}),
    "taxbreak_class_sum": frozenset({"classes"}),
    "taxbreak_fusion_sum": frozenset({"fusion"}),
    "taxbreak_call_sum": frozenset({"call_tree"}),
}
"""The tables of `detail_rows.DETAIL_TABLES` that each of these reports needs."""


def needed_tables(reports: list[str]) -> frozenset[str]:
    """Return the tables of details that the analysis must compute for these named reports."""
    return frozenset().union(*(TABLES.get(name, frozenset()) for name in reports))


def _requested(result: Result, table: str) -> Any:
    """Return a table's rows or columns; raises TaxbreakError if the analysis did not compute it."""
    rows = getattr(result.details, table)
    if rows is None:
        raise TaxbreakError(f"{result.report.path}: analysed without the table {table!r}; ask for it in Options.tables")
    return rows


def _gap_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "total_ns": "Total Time (ns)", "instances": "Instances"}
        | stats_titles("total")
        | {"total_p10_ns": "P10 (ns)", "total_p90_ns": "P90 (ns)"}
        | {"state": "State", "range": "Range", "name": "Before"}
    )
    rows = _requested(result, "gaps")
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in rows), titles)


def _gap_trace(result: Result) -> pa.Table:
    import pyarrow as pa

    from taxbreak_nsys.measure.step_numbers import step_numbers

    columns: Mapping[str, Any] = _requested(result, "gap_trace")
    instances, launch_start = result.instances, columns["launch_start_ns"]
    instance = pa.array(columns["instance"], pa.int32())

    def of_instance(values: pa.Array) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(instance, values)

    return pa.table(
        {
            "Start (ns)": columns["start_ns"],
            "Duration (ns)": columns["duration_ns"],
            "Phase": of_instance(dictionary_column(instances.label, instances.labels).cast(pa.string())),
            "Instance": of_instance(pa.array(step_numbers(instances))),
            "PID": of_instance(pa.array((instances.thread >> 24) & 0xFFFFFF)),
            "TID": of_instance(pa.array(instances.thread & 0xFFFFFF)),
            "State": dictionary_column(*columns["state"]),
            "Range": dictionary_column(*columns["range"]),
            "Launch Start (ns)": pa.array(launch_start, mask=launch_start < 0),
            "Before": dictionary_column(*columns["name"]),
        }
    )


def _nvtx_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "total_ns": "Total Time (ns)", "self_ns": "Self Time (ns)"}
        | {"instances": "Instances", "per_step_ns": "Per Step (ns)"}
        | {"exposed_ns": "Exposed (ns)", "self_exposed_ns": "Self Exposed (ns)"}
        | {"launches": "Launches", "self_launches": "Self Launches"}
        | {"kernels": "Kernels", "self_kernels": "Self Kernels"}
        | {"device_ns": "Device Time (ns)", "self_device_ns": "Self Device Time (ns)"}
        | {f"state_{name}": f"{name} (ns)" for name in STATES}
        | {"depth": "Depth", "range": "Range", "path": "Path"}
    )
    rows = _requested(result, "ranges")
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in rows), titles)


def _class_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "device_ns": "Total Time (ns)", "operations": "Instances"}
        | {"launches": "Launches", "launch_ns": "Launch Time (ns)", "exposed_launch_ns": "Exposed Launch (ns)"}
        | {"device_per_step_ns": "Per Step (ns)", "exposed_launch_per_step_ns": "Exposed Launch Per Step (ns)"}
        | {"device_per_token_ns": "Per Token (ns)", "exposed_launch_per_token_ns": "Exposed Launch Per Token (ns)"}
        | {"class": "Class", "title": "Title", "kernel_names": "Kernels"}
    )
    rows = _requested(result, "classes")
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in rows), titles)


def _fusion_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"time_percent": "Time (%)", "saved_ns": "Saved (ns)", "saved_per_step_ns": "Saved Per Step (ns)"}
        | {"path_ns": "Exposed Path (ns)"}
        | {"replay_percent": "Replay (%)", "replay_saved_ns": "Replay Saved (ns)"}
        | {"replay_saved_per_step_ns": "Replay Saved Per Step (ns)", "replayed_runs": "Replayed"}
        | {"instances": "Instances", "kernels": "Kernels", "device_ns": "Device Time (ns)", "pattern": "Pattern"}
        | {"replay_reason": "Not Replayed Because"}
    )
    shares = {"time_percent": "share", "replay_percent": "replay_share"}
    rows = _requested(result, "fusion")
    return rows_table(
        (row | {title: percent_share(row[share]) for title, share in shares.items()} for row in rows), titles
    )


def _call_sum(result: Result) -> pa.Table:
    titles = (
        HEAD_TITLES
        | {"layer": "Layer", "time_percent": "Time (%)", "total_ns": "Total Time (ns)", "self_ns": "Self Time (ns)"}
        | {"exposed_ns": "Exposed (ns)", "self_exposed_ns": "Self Exposed (ns)"}
        | {"samples": "Samples", "self_samples": "Self Samples"}
        | {"exposed_samples": "Exposed Samples", "self_exposed_samples": "Self Exposed Samples"}
        | {"depth": "Depth", "module": "Module", "file": "File", "symbol": "Symbol"}
    )
    rows = _requested(result, "calls")
    return rows_table((row | {"time_percent": percent_share(row["share"])} for row in rows), titles)


DETAIL_REPORTS: dict[str, Callable[[Result], pa.Table]] = {
    "taxbreak_gap_sum": _gap_sum,
    "taxbreak_gap_trace": _gap_trace,
    "taxbreak_nvtx_sum": _nvtx_sum,
    "taxbreak_class_sum": _class_sum,
    "taxbreak_fusion_sum": _fusion_sum,
    "taxbreak_call_sum": _call_sum,
}
"""The named reports of details, beside `result_tables.REPORTS`."""


_FUSION_COLUMNS = (
    "Replay Saved: what the replay forecasts if each run becomes one kernel, so that the framework, library and launch "
    "time between its first launch and the end of its last is gone. It also counts such time behind device work, where "
    "the device waits for the host later. Saved and Exposed Path are measured: the exposed time of all launch calls "
    "but the first, and all exposed time from the end of the first launch to the end of the last."
)


def _not_replayed(result: Result) -> list[str]:
    """Return a sentence for each reason why the replay says nothing of fusion candidates, with the phases."""
    phases: dict[str, list[str]] = {}
    for row in result.details.fusion or ():
        if row["replay_reason"] is not None and row["phase"] not in phases.setdefault(row["replay_reason"], []):
            phases[row["replay_reason"]].append(row["phase"])
    return [f"Rows of {', '.join(labels)} without a forecast: {reason}." for reason, labels in phases.items()]


def table_notes(result: Result, report: str, unit: str | None = None) -> list[str]:
    """Return the sentences above a listing: its main finding, and phases for which it has no rows with the reason."""
    if report == "taxbreak_fusion_sum":
        return [_FUSION_COLUMNS, *_not_replayed(result)]
    if report == "taxbreak_nvtx_sum":
        return gil_sentences(result, unit)
    if report not in ("taxbreak_gap_sum", "taxbreak_gap_trace"):
        return []
    unknown = [
        f"{entry.phase}: the idle gaps are not measured: {entry.taxbreak.hdbi_reason}"
        for entry in result.entries
        if not entry.combined and entry.exposed_ns is None
    ]
    return [*(f"{sentence}." for sentence in gap_sentences(result, unit)), *dict.fromkeys(unknown)]


def gil_sentences(result: Result, unit: str | None = None) -> list[str]:
    """Return one sentence per phase and thread that waits for Python's global lock (`-t python-gil`)."""
    rows = [row for row in result.details.ranges or () if row["range"] == GIL_WAITED]
    waits: dict[tuple[str, int | None, int | None], list[int | None]] = {}
    for row in rows:
        sums = waits.setdefault((row["phase"], row["process"], row["thread"]), [0, 0, 0])
        for place, column in enumerate(("total_ns", "exposed_ns", "instances")):
            sums[place] = None if sums[place] is None or row[column] is None else sums[place] + row[column]
    several = len({key[1:] for key in waits}) > 1
    sentences = []
    for entry in result.entries:
        total, exposed, count = waits.get((entry.phase, entry.process, entry.thread), (0, 0, 0))
        if not total or count is None:
            continue
        name = f"{entry.phase} ({entry.process}/{entry.thread})" if several else entry.phase
        idle = "" if exposed is None else f", {show_time(exposed, unit)} of it with the device idle"
        sentences.append(
            f"{name}: {count:,} {'waits' if count != 1 else 'wait'} for the GIL (Python's global lock) "
            f"{'take' if count != 1 else 'takes'} "
            f"{show_time(total, unit)}, {show_share(total, entry.wall_ns)} % of the wall time{idle}."
        )
    return sentences


def gap_sentences(result: Result, unit: str | None = None) -> list[str]:
    """Return one sentence per phase and thread on the largest cause of the device's idle time; none if it never idles.

    `unit` is a name of `UNITS`, or None for the most readable unit.
    """
    rows = result.details.gap_summary or ()
    several = len({(row["process"], row["thread"]) for row in rows}) > 1
    return [
        f"{row['phase']}{' (' + str(row['process']) + '/' + str(row['thread']) + ')' if several else ''}: "
        + _gap_sentence(row, unit)
        for row in rows
        if row["idle_ns"]
    ]


def _gap_sentence(row: Mapping[str, Any], unit: str | None) -> str:
    low, high = show_time(row["low_ns"], unit), show_time(row["high_ns"], unit)
    length = f"of {low}" if low == high else f"of {low} to {high}"
    count = row["instances"]
    gaps = f"{count:,} gap{'s' if count != 1 else ''} {length}"
    where = {"kernel": f" before {row['name']}", "class": f" before kernels of the class {row['name']}"}.get(
        row["kind"], f" while the host is in `{row['name']}`" if row["kind"] == "state" else ""
    )
    share = show_share(row["total_ns"], row["idle_ns"])
    host = (
        "" if row["kind"] == "state" else f"; in {100 * row['state_share']:.0f} % of it the host is in `{row['state']}`"
    )
    largest = ""
    if row["kind"] != "kernel" and row["kernel"] is not None:
        largest = f", {100 * row['kernel_share']:.0f} % of that before {row['kernel']}"
    return f"{share} % of the device's idle time ({show_time(row['idle_ns'], unit)}) is {gaps}{where}{largest}{host}"
