"""The answers of `whatif` as text, CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.markdown import rows_markdown
from taxbreak_nsys.output.plain_rows import console_text, number, percent, plain_table, rows_json, rows_to_csv
from taxbreak_nsys.output.text_report import printable, text_console
from taxbreak_nsys.output.units import show_time
from taxbreak_nsys.replay.prediction import Key, Prediction, Replay, key
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.replay.sweep import FASTEST, LeverPoint

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = "taxbreak-whatif/1"
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
    "wall_ns": "Wall (ns)",
    "predicted_wall_ns": "Predicted Wall (ns)",
    "wall_median_ns": "Wall Med (ns)",
    "predicted_wall_median_ns": "Predicted Wall Med (ns)",
    "saved_share": "Saved",
    "idle_ns": "Device Idle (ns)",
    "predicted_idle_ns": "Predicted Device Idle (ns)",
    "hdbi": "HDBI",
    "predicted_hdbi": "Predicted HDBI",
    "graphs": "Graphs",
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
        return rows_json(
            _head(replay) | {"scenario": dataclasses.asdict(scenario), "phases": [p.to_dict() for p in predictions]}
        )
    if format == "csv":
        return rows_to_csv([p.to_dict() for p in predictions], _TITLES)
    if format == "markdown":
        return f"What if: {_words(scenario)}.\n\n" + rows_markdown([p.to_dict() for p in predictions], _TITLES)
    console = text_console()
    console.print(printable(replay.result.report.path), style="bold")
    console.print(printable(f"what if: {_words(scenario)}"), style="bold")
    for one in predictions:
        _title(console, one)
        if one.reason is not None:
            console.print(printable(f"no prediction: {one.reason}"))
            continue
        console.print(_before_and_after(one, unit))
        if one.graphs is not None:
            console.print(f"{one.graphs / one.instances:,.1f} graphs per step: a wait of the host ends one")
        _trust(console, one)
    if scenario.graphs:
        typical = replay.typical
        console.print()
        console.print(
            f"graphs: {show_time(typical.graph_gap)} between nodes ({typical.graph_gap_source}); "
            "--graph-launch sets what a launch takes"
        )
    return console_text(console)


def ranking_report(replay: Replay, points: Sequence[LeverPoint], format: str, unit: str | None) -> str:
    """Return what half and none of each lever's time would bring, best first."""
    if format != "table":
        return _points(replay, points, format, {})
    console = text_console()
    console.print(printable(replay.result.report.path), style="bold")
    console.print("what each lever would bring", style="bold")
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
                saved = half[point.lever].saved_share if point.lever in half else None
                table.add_row(
                    point.title, percent(saved), percent(gone.saved_share), percent(gone.idle_share),
                    number(gone.predicted_hdbi),
                )  # fmt: skip
        console.print(f"wall {show_time(one.wall_ns, unit)}, median {show_time(one.wall_median_ns, unit)}")
        console.print(table)
        _trust(console, of_phase[0].prediction)
    return console_text(console)


def sweep_report(
    replay: Replay, points: Sequence[LeverPoint], speeds: Mapping[Key, float | None], format: str, unit: str | None
) -> str:
    """Return every lever's curve, and how fast a CPU would make each phase device-bound."""
    if format != "table":
        return _points(replay, points, format, speeds)
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


def _points(replay: Replay, points: Sequence[LeverPoint], format: str, speeds: Mapping[Key, float | None]) -> str:
    rows = [{"lever": p.lever, "factor": p.factor} | p.prediction.to_dict() for p in points]
    if format == "csv":
        return rows_to_csv(rows, _POINT_TITLES)
    if format == "markdown":
        return rows_markdown(rows, _POINT_TITLES)
    bound = [
        {"phase": name, "process": process, "thread": thread, "cpu_speed_to_device_bound": speed}
        for (name, process, thread), speed in speeds.items()
    ]
    refused = [p.to_dict() for p in replay.predict(Scenario()) if p.reason is not None]
    return rows_json(
        _head(replay) | {"points": rows, "not_predicted": refused} | ({"device_bound": bound} if bound else {})
    )


def _head(replay: Replay) -> dict[str, Any]:
    report, typical = replay.result.report, replay.typical
    return {
        "schema": SCHEMA,
        "report": {"path": report.path, "sha256": report.sha256},
        "typical": dataclasses.asdict(typical),
    }


def _by_phase(replay: Replay, points: Sequence[LeverPoint]) -> list[tuple[Prediction, list[LeverPoint]]]:
    return [
        (measured, [p for p in points if key(p.prediction) == key(measured)]) for measured in replay.predict(Scenario())
    ]


def _words(scenario: Scenario) -> str:
    told = [f"{name} x {getattr(scenario, name):g}" for name in ("framework", "library", "launch", "kernels", "copies")
            if getattr(scenario, name) != 1]  # fmt: skip
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
    row("device idle", one.idle_ns, one.predicted_idle_ns)
    table.add_row("HDBI", number(one.hdbi), number(one.predicted_hdbi), "")
    return table


def _trust(console: Console, one: Prediction) -> None:
    console.print(
        f"model: unchanged, {percent(one.unchanged_error, signed=True)} % off the measured wall; "
        f"with typical delays, {percent(one.loose_error, signed=True)} %",
        style="dim",
    )
    unexplained = abs(one.loose_error or 0.0)
    if unexplained > UNEXPLAINED:
        console.print(
            f"The report does not explain delays of {percent(unexplained)} % of the wall (lost kernels, "
            "dependencies between streams): they stay as measured, so savings may be larger.",
            style="yellow",
        )
