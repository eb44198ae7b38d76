"""What the page's charts draw, as plain data: layers of phases, steps of phases, timelines of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.attribution.layers import PhaseSums, split
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid
from taxbreak_nsys.output.html.thinning import Thinned, thin
from taxbreak_nsys.output.layer_stack import COLOURS, STATE_COLOURS, TITLES, device_busy_ns, phase_title, stack_parts
from taxbreak_nsys.output.timeline import Details, TimelineRows, device_rows, stands_out, timeline_details
from taxbreak_nsys.result import DeviceTime, LaunchCounts

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase, Result

Json = dict[str, Any]

MOST_STEPS = 3000
"""Steps that the charts of steps show together."""
MOST_ROWS = 8
"""Device rows of a timeline."""
LEAST_EVENTS = 1500
"""A timeline is not thinned below this many entries."""
_NAMED = np.array([state not in ("python", "os_wait", "profiler") for state in STATES])
KIND_NAMES = ("kernel", "copy", "set", "graph")
NAME_LENGTH = 160


@dataclass
class ChartNames:
    """Distinct names of the page, each once; long ones are cut where they are only shown on hovering."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str) -> int:
        """Return the number of a name."""
        shown = name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
        return self.codes.setdefault(shown, len(self.codes))


def page_data(results: Sequence[Result], titles: Sequence[str], events: int) -> tuple[Json, list[str]]:
    """Return the data of all charts, and sentences that say what is left out.

    `events` is how many host intervals and device operations the timelines may hold together.
    """
    names, omitted = ChartNames(), list[str]()
    groups: list[Json] = []
    plans: list[_Plan] = []
    phases = sum(not entry.combined for result in results for entry in result.entries)
    for number, result in enumerate(results):
        groups += _groups(result, number, plans, omitted, titles[number], max(MOST_STEPS // phases, 50))
    timelines = _timelines(results, titles, plans, events, names, omitted)
    for group in groups:
        group["timelines"] = sorted({line["step"] for line in timelines if line["group"] == group["id"]})
    data = {
        "reports": list(titles),
        "stacks": [_stack(entry, result, number) for number, result in enumerate(results) for entry in result.entries],
        "groups": groups,
        "timelines": timelines,
        "names": list(names.codes),
        "states": list(STATES),
        "kinds": list(KIND_NAMES),
        "titles": TITLES,
        "colours": COLOURS,
        "stateColours": STATE_COLOURS,
    }
    return data, omitted


def _stack(entry: Phase, result: Result, report: int) -> Json:
    return {
        "report": report,
        "title": phase_title(entry, result.entries),
        "instances": entry.instances,
        "wall": entry.wall_ns,
        "busy": device_busy_ns(entry),
        "reason": entry.taxbreak.hdbi_reason if entry.device.idle_ns is None else None,
        "parts": [[part.key, part.ns, part.exposed_ns] for part in stack_parts(entry)],
        "estimated": entry.taxbreak.evidence in ("subtractive", "samples"),
    }


@dataclass(frozen=True)
class _Plan:
    """The steps of one group, and in which order timelines of them are worth having."""

    group: int
    report: int
    instances: Ints
    order: list[int]


def _groups(
    result: Result, report: int, plans: list[_Plan], omitted: list[str], title: str, most: int
) -> Iterable[Json]:
    """Return the steps of each phase of one thread; plans their timelines."""
    columns, steps = result.columns, result.columns.steps
    for entry in result.entries:
        if entry.combined:
            continue
        of = columns.instances
        label = of.labels.index(entry.phase)
        thread = ((of.thread >> 24) & 0xFFFFFF == entry.process) & (of.thread & 0xFFFFFF == entry.thread)
        mine = np.flatnonzero((of.label == label) & thread)
        wall = steps.wall[mine]
        out = stands_out(wall)
        order = _worth(wall, out)
        shown = np.arange(len(mine)) if len(mine) <= most else np.sort(np.array(order[:most]))
        name = phase_title(entry, result.entries)
        if len(shown) < len(mine):
            omitted.append(
                f"{title}, {name}: {len(shown):,} of {len(mine):,} steps are charted: those that stand out, and the "
                "rest at even distances"
            )
        group = len(plans)
        plans.append(_Plan(group, report, mine, order))
        yield {
            "id": group,
            "report": report,
            "title": name,
            "phase": entry.phase,
            "count": len(mine),
            "median": entry.wall_median_ns,
            "step": shown.tolist(),
            "wall": wall[shown].tolist(),
            "out": np.flatnonzero(out[shown]).tolist(),
            "active": [None if steps.unmeasured[i] else int(columns.active[i]) for i in mine[shown]],
            "hdbi": [_step_hdbi(columns, int(i), entry.taxbreak.evidence, result.t_sys_ns) for i in mine[shown]],
            "kernels": steps.kernels[mine[shown]].tolist(),
            "states": steps.states[mine[shown]].tolist(),
            "outOf": int(out.sum()),
        }


def _worth(wall: Ints, out: Flags) -> list[int]:
    """Return steps in the order in which they are worth showing: usual, slowest, those that stand out, the rest.

    The rest comes at even distances: any prefix of the order is spread over the whole capture.
    """
    by_wall = np.argsort(wall, kind="stable")
    first = [int(by_wall[(len(wall) - 1) // 2]), int(by_wall[-1]), 0, int(by_wall[0])]
    first += np.flatnonzero(out)[np.argsort(-wall[out], kind="stable")].tolist()
    rest: list[int] = []
    stride = 1 << max(len(wall) - 1, 0).bit_length()
    while stride:
        rest += range(0, len(wall), stride)
        stride //= 2
    return list(dict.fromkeys(first + rest))


def _step_hdbi(columns: Measured, step: int, evidence: str, t_sys_ns: int) -> float | None:
    """Return HDBI of one step; None where it is not measured, or rests on samples (too few in one step)."""
    if evidence == "samples":
        return None
    steps = columns.steps
    counts = LaunchCounts(
        int(steps.kernel_launches[step]), int(steps.graph_launches[step]),
        int(steps.memory_launches[step]), int(steps.unmeasured_graphs[step]),
    )  # fmt: skip
    active = None if steps.unmeasured[step] else int(columns.active[step])
    states = dict(zip(STATES, steps.states[step].tolist(), strict=True))
    # the split does not change the sum that HDBI is made of
    hdbi = split(PhaseSums(states, counts, DeviceTime(active, None, None, None), 0), "none", t_sys_ns).hdbi
    return None if hdbi is None else round(hdbi, 4)


def _timelines(
    results: Sequence[Result],
    titles: Sequence[str],
    plans: Sequence[_Plan],
    events: int,
    names: ChartNames,
    omitted: list[str],
) -> list[Json]:
    """Return timelines while the budget lasts: first the most telling step of every phase, then the next."""
    drawers = [_Drawer(result.columns, names) for result in results]
    left = events
    worth = min(sum(len(plan.order) for plan in plans), 3 * len(plans))
    share = max(events // max(worth, 1), LEAST_EVENTS)
    found: list[Json] = []
    for turn in range(max((len(plan.order) for plan in plans), default=0)):
        if turn and left < LEAST_EVENTS:
            break
        for plan in plans:
            if turn >= len(plan.order):
                continue
            line = drawers[plan.report].draw(int(plan.instances[plan.order[turn]]), share)
            used = line.pop("events")
            # every phase has one timeline at least, however many phases there are
            if turn == 0 or used <= left:
                left -= used
                found.append({"group": plan.group, "step": plan.order[turn]} | line)
    for plan in plans:
        have = sum(line["group"] == plan.group for line in found)
        if have < len(plan.order):
            columns = results[plan.report].columns
            label = columns.instances.labels[int(columns.instances.label[plan.instances[0]])]
            omitted.append(
                f"{titles[plan.report]}, {label}: {have:,} of {len(plan.order):,} steps have a timeline: the usual "
                "one, the slowest, those that stand out first"
            )
    thinned = [line for line in found if line["width"]]
    if thinned:
        widest = max(line["width"] for line in thinned) / 1000
        omitted.append(
            f"{len(thinned)} of {len(found)} timelines are thinned: neighbours shorter than {widest:,.0f} us or less "
            "are drawn together, their times by state added up exactly; --events carries more"
        )
    return found


class _Drawer:
    """Makes timelines of one report's instances."""

    def __init__(self, columns: Measured, names: ChartNames) -> None:
        self.columns, self.names = columns, names
        self.details: Details = timeline_details(columns)
        self.rows: TimelineRows = device_rows(columns)
        self.order = np.argsort(columns.intervals.instance, kind="stable")
        self.by_instance = columns.intervals.instance[self.order]
        self.op_order = np.argsort(columns.trace.ops.start, kind="stable")
        self.op_start = columns.trace.ops.start[self.op_order]
        ops = columns.trace.ops
        self.longest_op = int((ops.end - ops.start).max()) if len(ops) else 0

    def draw(self, instance: int, most: int) -> Json:
        """Return the timeline of an instance, with about `most` entries."""
        instances, intervals = self.columns.instances, self.columns.intervals
        low, high = np.searchsorted(self.by_instance, [instance, instance + 1])
        mine = self.order[low:high]
        origin, stop = int(instances.start[instance]), int(instances.end[instance])
        host = thin(intervals.start[mine], intervals.end[mine], intervals.state[mine], most * 3 // 4)
        device = self._device(instance, origin, stop, most // 4)
        return {
            "start": origin,
            "span": stop - origin,
            "host": self._host(host, mine, origin),
            "device": [row for row, _ in device],
            "hidden": self._hidden,
            "reason": self._unmeasured(instance),
            "width": max([host.width, *(width for _, width in device)]),
            "events": len(host) + sum(len(row["d"]) for row, _ in device),
        }

    def _unmeasured(self, instance: int) -> str | None:
        if not self.columns.steps.unmeasured[instance]:
            return None
        return "CUDA graph launches left no device time in the report; capture with --cuda-graph-trace=node"

    def _host(self, host: Thinned, mine: Ints, origin: int) -> Json:
        """Return columns: gap before, duration, state, count, and for the states that have one, name and kernel."""
        index = np.where(host.index >= 0, mine[np.maximum(host.index, 0)], -1)
        named = np.where(_NAMED[host.kind], index, -1)
        gap = host.start - np.r_[origin, (host.start + host.duration)[:-1]]
        data = {
            "d": host.duration.tolist(),
            "s": "".join(map(str, host.kind.tolist())),
        }
        for key, code in (("n", self.details.name), ("k", self.details.kernel)):
            known = np.where(named >= 0, code[named], -1)
            data[key] = _sparse(np.array(self._codes(known, self.details.names), np.int64), -1)
        return data | {"g": _sparse(gap, 0), "c": _sparse(host.count, 1)}

    def _codes(self, code: Ints, names: Sequence[str]) -> list[int]:
        distinct, at = np.unique(code, return_inverse=True)
        of = np.array([-1 if c < 0 else self.names.code(names[c]) for c in distinct.tolist()], np.int64)
        return of[at.reshape(-1)].tolist() if len(of) else []

    def _device(self, instance: int, origin: int, stop: int, most: int) -> list[tuple[Json, int]]:
        """Return the device rows that show something in [origin, stop): (row, thinning width)."""
        ops, rows = self.columns.trace.ops, self.rows
        low = int(np.searchsorted(self.op_start, origin - self.longest_op))
        high = int(np.searchsorted(self.op_start, stop))
        seen = self.op_order[low:high]
        seen = seen[ops.end[seen] > origin]
        process = int(self.columns.instances.thread[instance]) & PROCESS_MASK
        used = np.unique(ops.device_global[self.columns.op_instance == instance])
        if len(used):
            seen = seen[np.isin(ops.device_global[seen], used)]
        present = np.unique(rows.row[seen]).tolist()
        present.sort(key=lambda row: (int(rows.process[row]) != process, row))
        self._hidden = len(present) - MOST_ROWS if len(present) > MOST_ROWS else 0
        present = present[:MOST_ROWS]
        several = len({int(rows.process[row]) for row in present}) > 1
        found = []
        for row in present:
            mine = seen[rows.row[seen] == row]
            start, end = np.maximum(ops.start[mine], origin), np.minimum(ops.end[mine], stop)
            device = thin(start, end, ops.kind[mine], max(most // len(present), 200))
            index = np.where(device.index >= 0, mine[np.maximum(device.index, 0)], -1)
            launch = self.columns.launches.of_op[index]
            begun = self.columns.launches.start[launch] if len(self.columns.launches) else launch
            known = (index >= 0) & (launch >= 0)
            title = rows.title(row) + (f", process {pid(int(rows.process[row]))}" if several else "")
            data = {
                "title": title,
                "g": (device.start - np.r_[origin, (device.start + device.duration)[:-1]]).tolist(),
                "d": device.duration.tolist(),
                "s": "".join(map(str, device.kind.tolist())),
                "n": self._codes(np.where(index >= 0, ops.name[index], -1), ops.names),
                "l": np.where(known, ops.start[index] - begun, -1).tolist(),
                "c": _sparse(device.count, 1),
            }
            found.append((data, device.width))
        return found


def _sparse(values: Ints, usual: int) -> Json:
    """Return a column as the distances between the places that are not the usual value, and their values.

    Written in full where that is shorter.
    """
    at = np.flatnonzero(values != usual)
    if len(at) * 2 >= len(values):
        return {"all": values.tolist()}
    return {"usual": usual, "skip": np.diff(at, prepend=0).tolist(), "value": values[at].tolist()}
