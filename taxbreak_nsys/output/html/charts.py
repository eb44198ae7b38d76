"""The data of the page's charts: layers and steps of phases, timelines of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.attribution.layers import PhaseSums, split
from taxbreak_nsys.measure.measured import InstanceSums
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.output.html.timeline_rows import ChartNames
from taxbreak_nsys.output.html.timelines import StepsToDraw, TimelineCollector
from taxbreak_nsys.output.layer_stack import (
    COLOURS,
    RANGE_COLOURS,
    STATE_COLOURS,
    TITLES,
    device_busy_ns,
    phase_title,
    stack_parts,
)
from taxbreak_nsys.result import DeviceTime, LaunchCounts

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase, Result

Json = dict[str, Any]

MOST_STEPS = 3000
"""Most steps that the step charts of all phases show together."""
KIND_NAMES = ("kernel", "copy", "set", "graph")


def page_data(
    results: Sequence[Result], timelines: Sequence[TimelineCollector], titles: Sequence[str]
) -> tuple[Json, list[str]]:
    """Return the data of all charts, and sentences on omitted data; `timelines` has the collector of each result."""
    names, omitted = ChartNames(), list[str]()
    groups: list[Json] = []
    phases = sum(not entry.combined for result in results for entry in result.entries)
    for number, (result, drawn) in enumerate(zip(results, timelines, strict=True)):
        most = max(MOST_STEPS // phases, 50)
        groups += _groups(result, number, drawn.steps, len(groups), omitted, titles[number], most)
    lines = _timelines(timelines, titles, names, omitted)
    for group in groups:
        group["timelines"] = sorted({line["step"] for line in lines if line["group"] == group["id"]})
    data = {
        "reports": list(titles),
        "stacks": [_stack(entry, result, number) for number, result in enumerate(results) for entry in result.entries],
        "groups": groups,
        "timelines": lines,
        "names": list(names.codes),
        "shorts": names.shorts,
        "states": list(STATES),
        "kinds": list(KIND_NAMES),
        "titles": TITLES,
        "colours": COLOURS,
        "stateColours": STATE_COLOURS,
        "rangeColours": RANGE_COLOURS,
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


def _groups(
    result: Result,
    report: int,
    drawn: Sequence[StepsToDraw],
    first_group: int,
    omitted: list[str],
    title: str,
    most: int,
) -> Iterable[Json]:
    """Yield the charted steps per phase and thread, at most `most` each; add sentences on omitted steps."""
    steps = result.step_sums
    entries = [entry for entry in result.entries if not entry.combined]
    for group, (entry, chosen) in enumerate(zip(entries, drawn, strict=True), start=first_group):
        numbers = chosen.instances
        shown = np.arange(len(numbers)) if len(numbers) <= most else np.sort(np.array(chosen.order[:most]))
        name = phase_title(entry, result.entries)
        if len(shown) < len(numbers):
            omitted.append(
                f"{title}, {name}: {len(shown):,} of {len(numbers):,} steps are charted: the steps that stand out, and "
                "others at even distances"
            )
        yield {
            "id": group,
            "report": report,
            "title": name,
            "phase": entry.phase,
            "count": len(numbers),
            "median": entry.wall_median_ns,
            "step": shown.tolist(),
            "wall": steps.wall[numbers[shown]].tolist(),
            "out": np.flatnonzero(chosen.out[shown]).tolist(),
            "active": [None if steps.unmeasured[i] else int(steps.active[i]) for i in numbers[shown]],
            "hdbi": [_step_hdbi(steps, int(i), entry.taxbreak.evidence, result.t_sys_ns) for i in numbers[shown]],
            "kernels": steps.kernels[numbers[shown]].tolist(),
            "states": steps.states[numbers[shown]].tolist(),
            "outOf": int(chosen.out.sum()),
        }


def _step_hdbi(steps: InstanceSums, step: int, evidence: str, t_sys_ns: int) -> float | None:
    """Return HDBI of one step; None if it is not measured, or estimated from samples (one step has too few)."""
    if evidence == "samples":
        return None
    counts = LaunchCounts(
        int(steps.kernel_launches[step]), int(steps.graph_launches[step]),
        int(steps.memory_launches[step]), int(steps.unmeasured_graphs[step]),
    )  # fmt: skip
    active = None if steps.unmeasured[step] else int(steps.active[step])
    states = dict(zip(STATES, steps.states[step].tolist(), strict=True))
    # HDBI depends on the sum of framework and library only, so evidence "none" gives the same value
    device = DeviceTime(active_ns=active, kernel_sum_ns=None, idle_ns=None, busy_share=None)
    sums = PhaseSums(states_ns=states, launches=counts, device=device, over_base_ns=0)
    hdbi = split(sums, "none", t_sys_ns).hdbi
    return None if hdbi is None else round(hdbi, 4)


def _timelines(
    timelines: Sequence[TimelineCollector], titles: Sequence[str], names: ChartNames, omitted: list[str]
) -> list[Json]:
    """Return the timelines of all reports; add sentences to `omitted` on steps without one and on thinned ones."""
    lines: list[Json] = []
    first_group = 0
    for title, drawn in zip(titles, timelines, strict=True):
        report_lines = [{"group": first_group + group, "step": step} | data for group, step, data in drawn.lines(names)]
        for group, steps in enumerate(drawn.steps, start=first_group):
            count = sum(line["group"] == group for line in report_lines)
            if count < len(steps.order):
                omitted.append(
                    f"{title}, {steps.label}: {count:,} of {len(steps.order):,} steps have a timeline: first the "
                    "median step, the slowest step and the steps that stand out"
                )
        first_group += len(drawn.steps)
        lines += report_lines
    thinned = [line for line in lines if line["width"]]
    if thinned:
        widest = max(line["width"] for line in thinned) / 1000
        omitted.append(
            f"{len(thinned)} of {len(lines)} timelines are thinned: neighbouring intervals shorter than at most "
            f"{widest:,.0f} us are drawn together, with exact sums of their times by state; --events keeps more"
        )
    return lines
