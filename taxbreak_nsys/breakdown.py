"""Where in a phase the layers' time lies: by kernel, by framework operator, by API call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from taxbreak_nsys.columns import Columns
from taxbreak_nsys.intervals import Flags, Ints, Measure, percentile, union
from taxbreak_nsys.launches import KERNEL_LAUNCH
from taxbreak_nsys.mediation import REASONS, kernel_name_of
from taxbreak_nsys.read.trace import KERNEL, pid, runs, tid
from taxbreak_nsys.states import STATE
from taxbreak_nsys.words import FRAMEWORK_STATES, STATES

Row = dict[str, Any]
Entry = tuple[str, int, str]
"""(phase label, thread, evidence)."""

_NO_SPLIT = ("none", "samples")
"""Evidence that cannot tell framework from library for one kernel or operator: samples are too few for that."""
_FRAMEWORK = np.array([name in FRAMEWORK_STATES for name in STATES])


def _stats(prefix: str, values: Ints) -> Row:
    return {
        f"{prefix}_ns": int(values.sum()),
        f"{prefix}_avg_ns": int(values.sum()) // len(values) if len(values) else None,
        f"{prefix}_med_ns": percentile(values, 50),
        f"{prefix}_min_ns": int(values.min()) if len(values) else None,
        f"{prefix}_max_ns": int(values.max()) if len(values) else None,
    }


def _head(entry: Entry) -> Row:
    label, thread, _ = entry
    return {"phase": label, "process": pid(thread), "thread": tid(thread)}


def _groups(key: Ints) -> list[tuple[int, Ints]]:
    """Return (value, indices) for each distinct value."""
    order = np.argsort(key, kind="stable")
    return [(int(key[order[low]]), order[low:high]) for low, high in runs(key[order])]


def _in_entry(columns: Columns, entry: Entry) -> Flags:
    """Tell which instances belong to an entry."""
    label, thread, _ = entry
    instances = columns.instances
    return (instances.label == instances.labels.index(label)) & (instances.thread == thread)


def host_time_before(columns: Columns) -> tuple[Ints, Ints]:
    """Return for each launch the framework and the library time that led to it, ns.

    That is the time in those states since the launch before it (of the same instance), by the method's rule
    that the small calls before a launch belong to it. What follows an instance's last launch led to none.
    """
    launches, intervals = columns.launches, columns.intervals
    framework, library = np.zeros(len(launches), np.int64), np.zeros(len(launches), np.int64)
    for low, high in runs(launches.thread):
        mine = np.flatnonzero(intervals.thread == launches.thread[low])
        following = np.searchsorted(launches.end[low:high], intervals.start[mine], side="right") + low
        valid = following < high
        mine, following = mine[valid], following[valid]
        same = columns.launch_instance[following] == intervals.instance[mine]
        mine, following = mine[same], following[same]
        state, duration = intervals.state[mine], intervals.duration[mine]
        is_framework = _FRAMEWORK[state]
        np.add.at(framework, following[is_framework], duration[is_framework])
        is_library = state == STATE["library"]
        np.add.at(library, following[is_library], duration[is_library])
    return framework, library


def kernel_rows(columns: Columns, entries: Sequence[Entry]) -> list[Row]:
    """Return a row a kernel name and phase: device and launch time, the host time that led to it.

    Kernels of a graph have no launch of their own: their launch and host figures are null.
    """
    trace, launches = columns.trace, columns.launches
    framework, library = host_time_before(columns)
    name_of_launch = kernel_name_of(trace, launches)
    op_duration = trace.ops.end - trace.ops.start
    launch_duration = launches.end - launches.start
    rows: list[Row] = []
    for entry in entries:
        held = _in_entry(columns, entry)
        of_op = columns.op_instance
        ops = np.flatnonzero((of_op >= 0) & held[np.maximum(of_op, 0)] & (trace.ops.kind == KERNEL))
        of_launch = columns.launch_instance
        own = (of_launch >= 0) & held[np.maximum(of_launch, 0)] & (launches.kind == KERNEL_LAUNCH)
        launched = dict(_by_name(np.flatnonzero(own), name_of_launch))
        total = int(op_duration[ops].sum())
        found = []
        for code, group in _by_name(ops, trace.ops.name):
            mine = launched.get(code, np.empty(0, np.int64))
            found.append(
                _head(entry)
                | {"name": trace.ops.names[code], "instances": len(group), "launches": len(mine)}
                | {"device_share": int(op_duration[group].sum()) / total if total else None}
                | _stats("device", op_duration[group])
                | (_stats("launch", launch_duration[mine]) if len(mine) else _no_stats("launch"))
                | _host_of(columns, mine, entry[2], framework, library)
                | _mediated(columns, mine)
                | {"operator": _operator_of(columns, mine)}
            )
        rows += sorted(found, key=lambda row: -row["device_ns"])
    return rows


def _by_name(index: Ints, names: Ints) -> list[tuple[int, Ints]]:
    return [(code, index[group]) for code, group in _groups(names[index])]


def _no_stats(prefix: str) -> Row:
    return dict.fromkeys(_stats(prefix, np.zeros(1, np.int64)), None)


def _host_of(columns: Columns, mine: Ints, evidence: str, framework: Ints, library: Ints) -> Row:
    """Return delta_ft and delta_ct of some launches under the evidence of their phase."""
    if not len(mine):
        return {"delta_ft_ns": None, "delta_ct_ns": None}
    delta_ft, delta_ct = int(framework[mine].sum()), int(library[mine].sum())
    if evidence in _NO_SPLIT:
        return {"delta_ft_ns": delta_ft + delta_ct, "delta_ct_ns": None}
    if evidence == "subtractive":
        # a launch cannot give to the library more than led to it
        moved = int(np.minimum(columns.mediation.over_base[mine], framework[mine]).sum())
        delta_ft, delta_ct = delta_ft - moved, delta_ct + moved
    return {"delta_ft_ns": delta_ft, "delta_ct_ns": delta_ct}


def _mediated(columns: Columns, mine: Ints) -> Row:
    """Say whether launches of one kernel were library-mediated, and by which sign most often."""
    if not len(mine):
        return {"library_mediated": None, "why": "launched by a CUDA graph"}
    counts = np.bincount(columns.mediation.reason[mine], minlength=len(REASONS))
    yes = int(counts[1:].sum())
    why = REASONS[int(np.argmax(counts[1:])) + 1] if yes else "no sign of a library"
    return {"library_mediated": yes * 2 > len(mine), "why": why}


def _operator_of(columns: Columns, mine: Ints) -> str | None:
    """Return the framework operator that most often launched a kernel, by its call chains; None without any."""
    chains = columns.chains
    if chains is None or not len(mine):
        return None
    at = chains.of(columns.trace.api.callchain_id[columns.launches.api[mine]])
    found = chains.operator[at[at >= 0]]
    found = found[found >= 0]
    return chains.operators[int(np.argmax(np.bincount(found)))] if len(found) else None


def operator_rows(columns: Columns, entries: Sequence[Entry]) -> list[Row]:
    """Return a row an operator name and phase; empty where the report has no operator ranges.

    `total_ns` is the ranges' own duration, operators inside included; `self` figures leave those out.
    Launches and kernels are those whose innermost operator it is.
    """
    operators, launches = columns.operators, columns.launches
    if not len(operators):
        return []
    instance = columns.instances.at(operators.thread, operators.start)
    self_of = {group: _self_time(columns, group) for group in (FRAMEWORK_STATES, ("library",), ("launch",), STATES)}
    kernels, device = np.zeros(len(operators), np.int64), np.zeros(len(operators), np.int64)
    over, launched = np.zeros(len(operators), np.int64), np.zeros(len(operators), np.int64)
    under = (operators.of_launch >= 0) & (columns.launch_instance >= 0)
    at = operators.of_launch[under]
    np.add.at(kernels, at, launches.kernels[under])
    np.add.at(device, at, launches.device_ns[under])
    np.add.at(over, at, columns.mediation.over_base[under])
    np.add.at(launched, at, 1)
    name = columns.trace.ranges.name[operators.index]
    duration = operators.end - operators.start
    rows: list[Row] = []
    for entry in entries:
        held = _in_entry(columns, entry)
        index = np.flatnonzero((instance >= 0) & held[np.maximum(instance, 0)])
        found = []
        for code, group in _by_name(index, name):
            framework = int(self_of[FRAMEWORK_STATES][group].sum())
            library = int(self_of[("library",)][group].sum())
            moved = 0
            if entry[2] == "subtractive":
                moved = int(np.minimum(over[group], self_of[FRAMEWORK_STATES][group]).sum())
            none = entry[2] in _NO_SPLIT
            found.append(
                _head(entry)
                | {"operator": columns.trace.ranges.names[code], "instances": len(group)}
                | _stats("total", duration[group])
                | {
                    "self_ns": int(self_of[STATES][group].sum()),
                    "delta_ft_ns": framework + library if none else framework - moved,
                    "delta_ct_ns": None if none else library + moved,
                    "launch_ns": int(self_of[("launch",)][group].sum()),
                    "launches": int(launched[group].sum()),
                    "kernels": int(kernels[group].sum()),
                    "device_ns": int(device[group].sum()),
                }
            )
        rows += sorted(found, key=lambda row: -row["self_ns"])
    return rows


def _self_time(columns: Columns, states: tuple[str, ...]) -> Ints:
    """Return for each operator its time in some states without the operators inside it, ns."""
    operators, intervals = columns.operators, columns.intervals
    result = np.zeros(len(operators), np.int64)
    which = np.isin(intervals.state, [STATE[name] for name in states])
    for low, high in runs(operators.thread):
        mine = which & (intervals.thread == operators.thread[low])
        covered = Measure.of(union(intervals.start[mine], intervals.end[mine]))
        result[low:high] = covered.within(operators.start[low:high], operators.end[low:high])
    inner = np.flatnonzero(operators.parent >= 0)
    nested = np.zeros(len(operators), np.int64)
    np.add.at(nested, operators.parent[inner], result[inner])
    return np.maximum(result - nested, 0)


def api_rows(columns: Columns, entries: Sequence[Entry]) -> list[Row]:
    """Return a row an API call name and phase: how often, how long, how much of it waited for the device."""
    api, launches = columns.trace.api, columns.launches
    instance = columns.instances.at(api.thread, api.start)
    duration = api.end - api.start
    waited = np.zeros(len(api), np.int64)
    waited[launches.api] = launches.wait_until - launches.start
    launched = np.zeros(len(api), np.int64)
    launched[launches.api] = 1
    rows: list[Row] = []
    for entry in entries:
        held = _in_entry(columns, entry)
        index = np.flatnonzero((instance >= 0) & held[np.maximum(instance, 0)])
        total = int(duration[index].sum())
        found = [
            _head(entry)
            | {"name": api.names[code], "instances": len(group), "launches": int(launched[group].sum())}
            | {"share": int(duration[group].sum()) / total if total else None}
            | _stats("total", duration[group])
            | {"blocked_ns": int(waited[group].sum())}
            for code, group in _by_name(index, api.name)
        ]
        rows += sorted(found, key=lambda row: -row["total_ns"])
    return rows
