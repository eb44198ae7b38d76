"""The answers of `whatif` as text, CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.csv_text import rows_to_csv
from taxbreak_nsys.output.json_text import json_document
from taxbreak_nsys.output.markdown import code, markdown_table, plain, rows_markdown
from taxbreak_nsys.output.plain_rows import console_text, number, percent, plain_table
from taxbreak_nsys.output.text_report import printable, text_console
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
"""Beyond this share of the wall the output warns of delays that the model does not know."""
FLAT = 0.005
"""A lever whose curve moves the wall by less than this share is not drawn."""
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
    """Return the prediction of one scenario."""
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
    for one in predictions:
        _title(console, one)
        if one.reason is not None:
            console.print(printable(f"no prediction: {one.reason}"))
            continue
        console.print(_before_and_after(one, unit))
        _graphs(console, one)
        _trust(console, one)
    if scenario.graphs:
        typical = replay.typical
        console.print()
        console.print(
            f"graphs: {show_time(typical.graph_gap)} between nodes ({typical.graph_gap_source}); --graph-launch sets "
            "what a launch takes. Waits in the OS stay; the profiler's own time is out of the forecast and no saving; "
            "Python between two launches goes, also where it decides by data what is launched."
        )
    if scenario.cpu != 1:
        console.print()
        console.print(
            "cpu: all host work scales with it, T_sys in HDBI as a whole too; device work, waits and the profiler stay."
        )
    return console_text(console)


def ranking_report(
    replay: Replay, points: Sequence[LeverPoint], changes: Sequence[ChangePoint], format: str, unit: str | None
) -> str:
    """Return what half and none of each lever's time would bring, best first, then what other changes would."""
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
    for one, of_phase in _by_phase(replay, points):
        _title(console, one)
        if not of_phase:
            console.print(printable(f"no prediction: {one.reason}"))
            continue
        table = plain_table("Lever", "half saves %", "all saves %", "then idle %", "HDBI")
        half = {p.lever: p.prediction for p in of_phase if p.factor == 0.5}
        for point in of_phase:
            if point.factor == 0:
                gone = point.prediction
                table.add_row(
                    point.title, percent(half[point.lever].saved_share), percent(gone.saved_share),
                    percent(gone.idle_share), number(gone.predicted_hdbi),
                )  # fmt: skip
        console.print(f"wall {show_time(one.wall_ns, unit)}, median {show_time(one.wall_median_ns, unit)}")
        _completion(console, one, unit)
        console.print(table)
        for change in changes:
            if key(change.prediction) == key(one):
                console.print(printable(_change(change)))
        _trust(console, of_phase[0].prediction)
    return console_text(console)


def _change(point: ChangePoint) -> str:
    """Return a line on what a change to several layers would bring."""
    one = point.prediction
    if one.reason is not None:
        return f"{point.change.title}: {one.reason}"
    saves = f"{point.change.title} would save {percent(one.saved_share)} % ({point.change.options})"
    if point.change is not GRAPHS:
        return saves
    if not one.graphs:
        return f"{point.change.title}: no launches beside those of graphs that would be shorter as one"
    return f"{saves}, {one.graphs_per_step:,.1f} graphs per step"


def sweep_report(
    replay: Replay, points: Sequence[LeverPoint], speeds: Mapping[Key, float | None], format: str, unit: str | None
) -> str:
    """Return every lever's curve, and how fast a CPU would make each phase device-bound."""
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
    for one, of_phase in _by_phase(replay, points):
        _title(console, one)
        if not of_phase:
            console.print(printable(f"no prediction: {one.reason}"))
            continue
        flat = []
        for lever in dict.fromkeys(point.lever for point in of_phase):
            curve = [point for point in of_phase if point.lever == lever]
            if max(abs(point.prediction.saved_share or 0.0) for point in curve) < FLAT:
                flat.append(curve[0].title)
                continue
            table = plain_table(curve[0].title, "median", "saved %", "idle %", "HDBI")
            table.add_column("wall", no_wrap=True)
            for point in curve:
                now = point.prediction
                share = (now.predicted_wall_ns or 0) / now.wall_ns
                table.add_row(
                    f"x {point.factor:g}", show_time(now.predicted_wall_median_ns, unit), percent(now.saved_share),
                    percent(now.idle_share), number(now.predicted_hdbi), "#" * round(BAR * share),
                )  # fmt: skip
            console.print(table)
        if flat:
            console.print(f"no difference to the wall time: {', '.join(flat)}")
        console.print(_bound(speeds[key(one)]), style="bold")
        _trust(console, of_phase[0].prediction)
    return console_text(console)


def _bound(speed: float | None) -> str:
    if speed is None:
        return f"Not device-bound even with a CPU {FASTEST:g} times as fast: the device still idles for a tenth."
    if speed == 1:
        return "Device-bound as it is: the device is idle for less than a tenth."
    return f"Device-bound (idle for less than a tenth) with a CPU {speed:.1f} times as fast."


def _point_rows(points: Sequence[LeverPoint]) -> list[dict[str, Any]]:
    return [{"lever": p.lever, "factor": p.factor} | p.prediction.to_dict() for p in points]


def ranking_rows(points: Sequence[LeverPoint], changes: Sequence[ChangePoint]) -> list[dict[str, Any]]:
    """Return a row per lever, factor and phase, then one per change to several layers that can be predicted."""
    rows = [
        {"lever": p.change.name, "factor": None} | p.prediction.to_dict()
        for p in changes
        if p.prediction.reason is None
    ]
    return _point_rows(points) + rows


def _head_line(replay: Replay) -> str:
    return f"### TaxBreak: {code(Path(replay.result.report.path).name)}\n\n"


def _markdown(replay: Replay, points: Sequence[LeverPoint], changes: Sequence[ChangePoint]) -> str:
    """Return a table per phase: what half and none of each lever's time would save, and what other changes would."""
    text = _head_line(replay)
    for one, of_phase in _by_phase(replay, points):
        text += f"#### {plain(one.phase)}\n\n"
        if not of_phase:
            text += f"No prediction: {plain(one.reason or '')}.\n\n"
            continue
        half = {p.lever: p.prediction for p in of_phase if p.factor == 0.5}
        rows = [
            (plain(p.title), percent(half[p.lever].saved_share), percent(p.prediction.saved_share),
             number(p.prediction.predicted_hdbi))
            for p in of_phase if p.factor == 0
        ]  # fmt: skip
        rows += [
            (plain(change.change.title), "–", percent(change.prediction.saved_share),
             number(change.prediction.predicted_hdbi))
            for change in changes
            if key(change.prediction) == key(one) and change.prediction.reason is None
        ]  # fmt: skip
        text += markdown_table(("Lever", "half saves %", "all saves %", "HDBI then"), rows) + "\n"
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
    told = [
        f"{name.replace('_', ' ')} x {getattr(scenario, name):g}" for name in FACTORS if getattr(scenario, name) != 1
    ]
    if scenario.cpu != 1:
        told.append(f"a CPU {scenario.cpu:g} times as fast")
    if scenario.framework_minus_ns:
        where = f"launches of {scenario.before!r}" if scenario.before else "each launch"
        told.append(f"{show_time(scenario.framework_minus_ns)} less framework time before {where}")
    if scenario.graphs:
        told.append("CUDA graphs")
    return ", ".join(told) or "nothing changed"


def _title(console: Console, one: Prediction) -> None:
    where = "all its threads" if one.thread is None else f"process {one.process}, thread {one.thread}"
    console.print()
    console.rule(printable(f"{one.phase} ({where})"), align="left", characters="-")


def _before_and_after(one: Prediction, unit: str | None) -> Table:
    table = plain_table("", "measured", "predicted", "change (%)")

    def row(name: str, before: int | None, after: int | None) -> None:
        change = after / before - 1 if before and after is not None else None
        table.add_row(name, show_time(before, unit), show_time(after, unit), percent(change, signed=True))

    row("wall", one.wall_ns, one.predicted_wall_ns)
    row("wall, median", one.wall_median_ns, one.predicted_wall_median_ns)
    if one.completion_ns != one.wall_ns:
        row("to completion", one.completion_ns, one.predicted_completion_ns)
    row("device idle", one.idle_ns, one.predicted_idle_ns)
    table.add_row("HDBI", number(one.hdbi), number(one.predicted_hdbi), "")
    return table


def _completion(console: Console, one: Prediction, unit: str | None) -> None:
    """Say how long the phase's work lasts where that is not the wall: what is saved is a share of it."""
    if one.completion_ns is not None and one.completion_ns != one.wall_ns:
        console.print(
            f"to completion {show_time(one.completion_ns, unit)}, with what the device works on after the phase's end "
            "and without what earlier phases' work covers: savings are shares of it"
        )


def _graphs(console: Console, one: Prediction) -> None:
    if one.graphs_per_step is None:
        return
    breaks = (one.breaks or 0) / one.replayed_instances
    console.print(f"{one.graphs_per_step:,.1f} graphs per step; the host waits {breaks:,.1f} times between launches")


def _trust(console: Console, one: Prediction) -> None:
    console.print(
        f"model: unchanged, {percent(one.unchanged_error, signed=True)} % off the measured wall; "
        f"with typical delays, {percent(one.loose_error, signed=True)} %",
        style="dim",
    )
    if one.replayed_instances < one.instances:
        console.print(
            f"replayed {one.replayed_instances:,} of {one.instances:,} steps, as for the verdict; --whole replays all",
            style="dim",
        )
    unexplained = abs(one.loose_error or 0.0)
    if unexplained > UNEXPLAINED:
        console.print(
            f"The report does not explain delays of {percent(unexplained)} % of the wall (lost kernels, "
            "dependencies between streams): they stay as measured, so savings may be larger.",
            style="yellow",
        )
