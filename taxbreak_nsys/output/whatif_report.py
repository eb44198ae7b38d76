"""The predictions of `whatif` as text, CSV, JSON and Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.console import printable, text_console
from taxbreak_nsys.output.csv_text import rows_to_csv
from taxbreak_nsys.output.json_text import json_document
from taxbreak_nsys.output.markdown import code, markdown_table, plain, rows_markdown
from taxbreak_nsys.output.plain_rows import console_text, number, percent, plain_table
from taxbreak_nsys.output.units import show_time
from taxbreak_nsys.replay.levers import GRAPHS
from taxbreak_nsys.replay.predicted_phase import Key, Prediction, key
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import FACTORS, Scenario
from taxbreak_nsys.replay.sweep import FASTEST, ChangePoint, LeverPoint

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = "taxbreak-whatif/2"
BAR = 20
UNEXPLAINED = 0.05
"""If the model misses more than this share of the wall time, the output warns of unexplained delays."""
NEGATIVE = -0.0005
"""A saved share below this one prints as a negative number, and the output says why."""
_WHY_NEGATIVE = (
    "A negative saving: earlier phases end sooner and hide less of this phase's time, or the phase begins sooner and "
    "waits for a slower rank as before. No moment of the thread comes later."
)
FLAT = 0.005
"""A lever that changes the wall time by less than this share is not drawn."""
_TITLES = {
    "phase": "Phase",
    "process": "PID",
    "thread": "TID",
    "instances": "Instances",
    "replayed_instances": "Replayed Instances",
    "wall_ns": "Wall (ns)",
    "predicted_wall_ns": "Predicted Wall (ns)",
    "wall_median_ns": "Wall Med (ns)",
    "predicted_wall_median_ns": "Predicted Wall Med (ns)",
    "completion_ns": "Completion (ns)",
    "predicted_completion_ns": "Predicted Completion (ns)",
    "saved_share": "Saved",
    "idle_ns": "Device Idle (ns)",
    "predicted_idle_ns": "Predicted Device Idle (ns)",
    "hdbi": "HDBI",
    "predicted_hdbi": "Predicted HDBI",
    "graphs": "Graphs",
    "breaks": "Waits Between Launches",
    "left_out_ns": "Profiler Left Out (ns)",
    "unchanged_error": "Unchanged Error",
    "loose_error": "Loose Error",
    "reason": "Reason",
}
_POINT_TITLES = {"lever": "Lever", "factor": "Factor"} | _TITLES


def prediction(
    replay: Replay, scenario: Scenario, predictions: Sequence[Prediction], format: str, unit: str | None
) -> str:
    """Return the predictions of one scenario, one per phase and thread, as text in `format`."""
    if format == "json":
        return json_document(
            _head(replay) | {"scenario": dataclasses.asdict(scenario), "phases": [p.to_dict() for p in predictions]}
        )
    if format == "csv":
        return rows_to_csv([p.to_dict() for p in predictions], _TITLES)
    if format == "markdown":
        return f"{_head_line(replay)}What if: {_words(scenario)}.\n\n" + rows_markdown(
            [p.to_dict() for p in predictions], _TITLES
        )
    console = text_console()
    console.print(printable(replay.result.report.path), style="bold")
    console.print(printable(f"what if: {_words(scenario)}"), style="bold")
    for phase in predictions:
        _title(console, replay, phase)
        if phase.reason is not None:
            console.print(printable(f"no prediction: {phase.reason}"))
            continue
        console.print(_before_and_after(phase, unit))
        _graphs(console, phase)
        if scenario.only_shortens:
            _negative(console, [phase])
        _trust(console, phase)
    if scenario.graphs:
        typical = replay.typical
        console.print()
        console.print(
            f"graphs: {show_time(typical.graph_gap)} between nodes ({typical.graph_gap_source}); --graph-launch sets "
            "the time of a launch. Waits in the OS stay. The state 'profiler' is excluded and is no saving. Python "
            "between launches is removed, even if it chooses launches depending on data."
        )
    if scenario.cpu != 1:
        console.print()
        console.print(
            "cpu: all host work scales with the CPU, also T_sys in HDBI; device work, waits and the profiler stay."
        )
    return console_text(console)


def ranking_report(
    replay: Replay, points: Sequence[LeverPoint], changes: Sequence[ChangePoint], format: str, unit: str | None
) -> str:
    """Return per phase what halving and removing each lever's time saves, best lever first, then other changes."""
    if format == "csv":
        return rows_to_csv(ranking_rows(points, changes), _POINT_TITLES)
    if format == "markdown":
        return _markdown(replay, points, changes)
    if format == "json":
        rows = [{"change": p.change.name} | p.prediction.to_dict() for p in changes]
        return json_document(_points(replay, points) | {"changes": rows})
    console = text_console()
    console.print(printable(replay.result.report.path), style="bold")
    console.print("what each lever would bring, best first", style="bold")
    for phase, phase_points in _by_phase(replay, points):
        _title(console, replay, phase)
        if not phase_points:
            console.print(printable(f"no prediction: {phase.reason}"))
            continue
        table = plain_table("Lever", "half saves %", "all saves %", "then idle %", "HDBI")
        half = {p.lever: p.prediction for p in phase_points if p.factor == 0.5}
        for point in phase_points:
            if point.factor == 0:
                removed = point.prediction
                table.add_row(
                    point.title, percent(half[point.lever].saved_share), percent(removed.saved_share),
                    percent(removed.idle_share), number(removed.predicted_hdbi),
                )  # fmt: skip
        console.print(f"wall {show_time(phase.wall_ns, unit)}, median {show_time(phase.wall_median_ns, unit)}")
        _completion(console, phase, unit)
        console.print(table)
        own = [change for change in changes if key(change.prediction) == key(phase)]
        for change in own:
            console.print(printable(_change(change)))
        shortened = [change.prediction for change in own if change.change is not GRAPHS]
        _negative(console, [*(point.prediction for point in phase_points), *shortened])
        _trust(console, phase_points[0].prediction)
    return console_text(console)


def _change(point: ChangePoint) -> str:
    """Return a line on the saving of a change to several layers."""
    predicted = point.prediction
    if predicted.reason is not None:
        return f"{point.change.title}: {predicted.reason}"
    saves = f"{point.change.title} would save {percent(predicted.saved_share)} % ({point.change.options})"
    if _is_negative(predicted):
        longer = percent(-(predicted.saved_share or 0.0))
        saves = f"{point.change.title} would not save, but take {longer} % longer ({point.change.options})"
    if point.change is not GRAPHS:
        return saves
    if not predicted.graphs:
        return f"{point.change.title}: no launches outside graphs that would be shorter as a graph"
    return f"{saves}, {predicted.graphs_per_step:,.1f} graphs per step"


def sweep_report(
    replay: Replay, points: Sequence[LeverPoint], speeds: Mapping[Key, float | None], format: str, unit: str | None
) -> str:
    """Return every lever's curve, and the CPU speed at which each phase becomes device-bound, as text in `format`."""
    if format == "csv":
        return rows_to_csv(_point_rows(points), _POINT_TITLES)
    if format == "markdown":
        return _head_line(replay) + rows_markdown(_point_rows(points), _POINT_TITLES)
    if format == "json":
        bound = [
            {"phase": name, "process": process, "thread": thread, "cpu_speed_to_device_bound": speed}
            for (name, process, thread), speed in speeds.items()
        ]
        return json_document(_points(replay, points) | {"device_bound": bound})
    console = text_console()
    console.print(printable(replay.result.report.path), style="bold")
    console.print("wall time by lever", style="bold")
    for phase, phase_points in _by_phase(replay, points):
        _title(console, replay, phase)
        if not phase_points:
            console.print(printable(f"no prediction: {phase.reason}"))
            continue
        flat = []
        for lever in dict.fromkeys(point.lever for point in phase_points):
            curve = [point for point in phase_points if point.lever == lever]
            if max(abs(point.prediction.saved_share or 0.0) for point in curve) < FLAT:
                flat.append(curve[0].title)
                continue
            table = plain_table(curve[0].title, "median", "saved %", "idle %", "HDBI")
            table.add_column("wall", no_wrap=True)
            for point in curve:
                predicted = point.prediction
                share = (predicted.predicted_wall_ns or 0) / predicted.wall_ns
                table.add_row(
                    f"x {point.factor:g}", show_time(predicted.predicted_wall_median_ns, unit),
                    percent(predicted.saved_share), percent(predicted.idle_share), number(predicted.predicted_hdbi),
                    "#" * round(BAR * share),
                )  # fmt: skip
            console.print(table)
        if flat:
            console.print(f"no difference to the wall time: {', '.join(flat)}")
        console.print(_device_bound_sentence(speeds[key(phase)]), style="bold")
        _trust(console, phase_points[0].prediction)
    return console_text(console)


def _device_bound_sentence(speed: float | None) -> str:
    if speed is None:
        return f"Not device-bound even with a CPU {FASTEST:g} times as fast: the device still idles for a tenth."
    if speed == 1:
        return "Device-bound as it is: the device is idle for less than a tenth."
    return f"Device-bound (idle for less than a tenth) with a CPU {speed:.1f} times as fast."


def _point_rows(points: Sequence[LeverPoint]) -> list[dict[str, Any]]:
    return [{"lever": p.lever, "factor": p.factor} | p.prediction.to_dict() for p in points]


def ranking_rows(points: Sequence[LeverPoint], changes: Sequence[ChangePoint]) -> list[dict[str, Any]]:
    """Return one row per lever, factor and phase, then one per predicted change to several layers; times in ns."""
    rows = [
        {"lever": p.change.name, "factor": None} | p.prediction.to_dict()
        for p in changes
        if p.prediction.reason is None
    ]
    return _point_rows(points) + rows


def _head_line(replay: Replay) -> str:
    return f"### TaxBreak: {code(Path(replay.result.report.path).name)}\n\n"


def _markdown(replay: Replay, points: Sequence[LeverPoint], changes: Sequence[ChangePoint]) -> str:
    """Return a table per phase: the savings from halving and removing each lever's time, and from other changes."""
    text = _head_line(replay)
    for phase, phase_points in _by_phase(replay, points):
        text += f"#### {plain(phase.phase)}\n\n"
        if not phase_points:
            text += f"No prediction: {plain(phase.reason or '')}.\n\n"
            continue
        half = {p.lever: p.prediction for p in phase_points if p.factor == 0.5}
        rows = [
            (plain(p.title), percent(half[p.lever].saved_share), percent(p.prediction.saved_share),
             number(p.prediction.predicted_hdbi))
            for p in phase_points if p.factor == 0
        ]  # fmt: skip
        rows += [
            (plain(change.change.title), "–", percent(change.prediction.saved_share),
             number(change.prediction.predicted_hdbi))
            for change in changes
            if key(change.prediction) == key(phase) and change.prediction.reason is None
        ]  # fmt: skip
        text += markdown_table(("Lever", "half saves %", "all saves %", "HDBI then"), rows) + "\n"
        if any(_is_negative(point.prediction) for point in phase_points):
            text += f"{_WHY_NEGATIVE}\n\n"
    return text


def _points(replay: Replay, points: Sequence[LeverPoint]) -> dict[str, Any]:
    refused = [p.to_dict() for p in replay.predict(Scenario()) if p.reason is not None]
    return _head(replay) | {"points": _point_rows(points), "not_predicted": refused}


def _head(replay: Replay) -> dict[str, Any]:
    report, typical = replay.result.report, replay.typical
    return {
        "schema": SCHEMA,
        "report": {"path": report.path, "sha256": report.sha256},
        "replayed": "stretches" if replay.sampled else "whole",
        "typical": dataclasses.asdict(typical),
    }


def _by_phase(replay: Replay, points: Sequence[LeverPoint]) -> list[tuple[Prediction, list[LeverPoint]]]:
    return [
        (measured, [p for p in points if key(p.prediction) == key(measured)]) for measured in replay.predict(Scenario())
    ]


def _words(scenario: Scenario) -> str:
    parts = [
        f"{name.replace('_', ' ')} x {getattr(scenario, name):g}" for name in FACTORS if getattr(scenario, name) != 1
    ]
    if scenario.cpu != 1:
        parts.append(f"a CPU {scenario.cpu:g} times as fast")
    if scenario.framework_minus_ns:
        where = f"launches of {scenario.before!r}" if scenario.before else "each launch"
        parts.append(f"{show_time(scenario.framework_minus_ns)} less framework time before {where}")
    if scenario.graphs:
        parts.append("CUDA graphs")
    return ", ".join(parts) or "nothing changed"


def _title(console: Console, replay: Replay, phase: Prediction) -> None:
    where = "all its threads" if phase.thread is None else f"process {phase.process}, thread {phase.thread}"
    ranks = next(entry.ranks for entry in replay.result.entries if key(entry) == key(phase))
    if ranks is not None:
        where = f"{len(ranks.ranks)} ranks, {ranks.kind}"
    console.print()
    console.rule(printable(f"{phase.phase} ({where})"), align="left", characters="-")


def _before_and_after(phase: Prediction, unit: str | None) -> Table:
    table = plain_table("", "measured", "predicted", "change (%)")

    def row(name: str, before: int | None, after: int | None) -> None:
        change = after / before - 1 if before and after is not None else None
        table.add_row(name, show_time(before, unit), show_time(after, unit), percent(change, signed=True))

    row("wall", phase.wall_ns, phase.predicted_wall_ns)
    row("wall, median", phase.wall_median_ns, phase.predicted_wall_median_ns)
    if phase.completion_ns != phase.wall_ns:
        row("to completion", phase.completion_ns, phase.predicted_completion_ns)
    row("device idle", phase.idle_ns, phase.predicted_idle_ns)
    table.add_row("HDBI", number(phase.hdbi), number(phase.predicted_hdbi), "")
    return table


def _completion(console: Console, phase: Prediction, unit: str | None) -> None:
    """Print the time to completion if it differs from the wall time, because savings are shares of it."""
    if phase.completion_ns is not None and phase.completion_ns != phase.wall_ns:
        console.print(
            f"to completion {show_time(phase.completion_ns, unit)}: includes device work after the phase's end and "
            "excludes time covered by the work of earlier phases; savings are shares of it"
        )


def _graphs(console: Console, phase: Prediction) -> None:
    if phase.graphs_per_step is None:
        return
    breaks = (phase.breaks or 0) / phase.replayed_instances
    console.print(f"{phase.graphs_per_step:,.1f} graphs per step; the host waits {breaks:,.1f} times between launches")


def _is_negative(phase: Prediction) -> bool:
    return phase.saved_share is not None and phase.saved_share < NEGATIVE


def _negative(console: Console, predictions: Sequence[Prediction]) -> None:
    """Print why less time for a layer can make a phase longer, where one of its predictions is."""
    if any(_is_negative(one) for one in predictions):
        console.print(_WHY_NEGATIVE)


def _trust(console: Console, phase: Prediction) -> None:
    """Print how far the model is off without any change, and a warning if that is a lot."""
    console.print(
        f"model: unchanged, {percent(phase.unchanged_error, signed=True)} % off the measured wall; "
        f"with typical delays, {percent(phase.loose_error, signed=True)} %",
        style="dim",
    )
    if phase.replayed_instances < phase.instances:
        replayed = f"{phase.replayed_instances:,} of {phase.instances:,} steps"
        console.print(f"replayed {replayed}, as for the verdict; --whole replays all", style="dim")
    unexplained = abs(phase.loose_error or 0.0)
    if unexplained > UNEXPLAINED:
        console.print(
            f"The report does not explain delays of {percent(unexplained)} % of the wall (lost kernels, "
            "dependencies between streams): they stay as measured, so savings may be larger.",
            style="yellow",
        )
