"""Costs put into an engine, found again: cycle against cycle, and where each cost itself was counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from validating.engine_truth import Cost, Ints, Process, Truth, clock_offset

Record = dict[str, Any]

SHOWN = ("python", "os_wait", "library", "launch", "runtime", "memop", "device_wait")
"""Host states that a cost could be found in."""
FIGURES = {
    "scheduler": ("python between", "python inside", "wall"),
    "output": ("python between", "python inside", "wall"),
    "sampler": ("python between", "python inside", "wall"),
    "forward": ("python inside", "python between", "wall"),
    "sleep": ("os_wait", "wall"),
    "rank": ("comm_wait", "wall"),
    "front": ("wall",),
    "kernels": ("python", "runtime", "launch", "library", "kernels"),
    "device": ("active", "kernels"),
}
"""What cycles are compared by, by the place of the cost; the first is where the cost belongs."""
FRONT = "front"
"""The place of a cost in the front-end process, which no thread of the engine must show."""
NEAR = 3
"""A cycle without a cost, to compare with, is looked for among so many cycles on either side."""


def costs_of(result: Any, truth: Truth) -> Record:
    """Return, by kind of cost, the differences between cycles (`pairs`) and the states of the cost itself (`windows`).

    `result` is an analysis with `intervals=True`. All times are ns.
    """
    return {
        "pairs": _pairs(result, truth),
        "windows": _windows(result, truth),
        "device_ns": [ns for process in truth.processes for ns in process.device_ns],
    }


def cycles_of_process(instances: Any, pid: int) -> Ints:
    """Return the rows of a process's cycles, in order of time."""
    rows = np.flatnonzero((instances.thread >> 24 & 0xFFFFFF) == pid)
    return rows[np.argsort(instances.start[rows], kind="stable")]


def _figures(result: Any, rows: Ints) -> dict[str, Ints]:
    """Return what cycles are compared by: ns by name, and `kernels`."""
    from taxbreak_nsys.model.name_rules import STATES

    steps, at = result.step_sums, {name: number for number, name in enumerate(STATES)}
    figures = {state: steps.states[rows, at[state]] for state in SHOWN}
    figures["python inside"] = steps.marked[rows, at["python"]]
    figures["python between"] = figures["python"] - figures["python inside"]
    figures |= {"wall": steps.wall[rows], "active": steps.active[rows], "kernels": steps.kernels[rows]}
    return figures | {"comm_wait": steps.comm_wait[rows]}


def _by_cycle(process: Process, starts: Ints, end: int) -> list[list[Cost]]:
    """Return the costs that begin in each cycle."""
    found: list[list[Cost]] = [[] for _ in starts]
    for cost in process.costs:
        if starts[0] <= cost.start < end:
            found[int(np.searchsorted(starts, cost.start, "right")) - 1].append(cost)
    return found


def _pairs(result: Any, truth: Truth) -> Record:
    """Return the differences to the mean of the nearest cycles without a cost, before and after.

    With several ranks the costs of one are compared in the cycles of all: `comm_wait` is then the largest difference
    on the other ranks, in the same steps.
    """
    pairs: Record = {}
    ranks = []
    for process in truth.processes:
        rows = cycles_of_process(result.instances, process.pid)
        offset = clock_offset(process, result.instances.start[rows])
        end = int(result.instances.end[rows[-1]]) - offset
        ranks.append((process, rows, result.instances.start[rows] - offset, end))
    for number, (process, rows, starts, end) in enumerate(ranks):
        costs = _by_cycle(process, starts, end)
        figures = _figures(result, rows)
        if len(ranks) > 1:
            (other,) = [rank for place, rank in enumerate(ranks) if place != number]
            figures["comm_wait"] = result.step_sums.comm_wait[other[1]]
        for cycle, inside in enumerate(costs):
            names = {cost.name for cost in inside}
            before, after = (_clean(costs, cycle, way) for way in (-1, 1))
            if len(names) != 1 or before is None or after is None:
                continue
            name = names.pop()
            kept = FIGURES[name.split()[0]]
            entry = pairs.setdefault(name, {"added": [], **{figure: [] for figure in kept}})
            entry["added"].append(sum(cost.end - cost.start for cost in inside))
            for figure in kept:
                values = figures[figure]
                entry[figure].append(round(float(values[cycle] - (values[before] + values[after]) / 2)))
    return pairs


def _clean(costs: list[list[Cost]], cycle: int, way: int) -> int | None:
    """Return the nearest cycle without a cost in one direction, except the first two and the last."""
    near = (cycle + way * distance for distance in range(1, NEAR + 1))
    return next((place for place in near if 2 <= place < len(costs) - 1 and not costs[place]), None)


def _windows(result: Any, truth: Truth) -> Record:
    """Return where the time of each cost itself was counted: by state, and inside or between the marks."""
    table = result.intervals
    starts = np.asarray(table["Start (ns)"])
    ends = starts + np.asarray(table["Duration (ns)"])
    states, processes = table["State"].to_pylist(), np.asarray(table["PID"])
    found: Record = {}
    for process in truth.processes:
        rows = cycles_of_process(result.instances, process.pid)
        offset = clock_offset(process, result.instances.start[rows])
        marks = np.stack([result.instances.start[rows], result.instances.mark_end[rows]], axis=1)
        own = np.flatnonzero(processes == process.pid)
        own = own[np.argsort(starts[own], kind="stable")]
        first, last = starts[own], ends[own]
        for cost in process.costs:
            begin, end = cost.start + offset, cost.end + offset
            if cost.place == FRONT or not marks[0, 0] <= begin < result.instances.end[rows[-1]]:
                continue
            entry = found.setdefault(cost.name, {"count": 0, "added": 0, "inside": 0, "states": {}})
            entry["count"] += 1
            entry["added"] += end - begin
            entry["inside"] += int(np.maximum(np.minimum(marks[:, 1], end) - np.maximum(marks[:, 0], begin), 0).sum())
            near = slice(int(np.searchsorted(last, begin, "right")), int(np.searchsorted(first, end, "left")))
            for row in range(near.start, near.stop):
                overlap = int(min(last[row], end) - max(first[row], begin))
                state = states[own[row]]
                entry["states"][state] = entry["states"].get(state, 0) + overlap
    return found
