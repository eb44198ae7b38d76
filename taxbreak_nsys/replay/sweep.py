"""Ranking of the levers by saving, and curves of each lever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from taxbreak_nsys.replay.levers import CHANGES, LEVERS, BroadChange, Lever
from taxbreak_nsys.replay.predicted_phase import Key, Prediction, key
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import FACTORS as SCENARIO_FACTORS
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase

FACTORS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
SPEEDS = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)
FASTEST = 64.0
"""The fastest CPU for which a phase is tested for being device-bound."""
DEVICE_BOUND_IDLE = 0.1
"""A phase is device-bound if the device is idle for less than this share (method section 5, the verdict)."""


@dataclass(frozen=True)
class LeverPoint:
    """One point of a curve or of the ranking: a lever at a factor, and the prediction for one phase."""

    lever: str
    title: str
    factor: float
    prediction: Prediction


def rank_levers(replay: Replay) -> list[LeverPoint]:
    """Return the prediction for each phase and lever at half its time (factor 0.5) and at none (factor 0).

    Phases are in the result's order, levers in the order of the savings at half, as in the verdict.
    """
    points: list[LeverPoint] = []
    for lever in LEVERS:
        for factor, scenario in ((0.5, lever.half), (0.0, lever.gone)):
            points += _points(replay, lever, factor, replay.predict(scenario))
    half = {(p.lever, key(p.prediction)): p.prediction.saved_share or 0.0 for p in points if p.factor == 0.5}
    order = {key(entry): number for number, entry in enumerate(replay.result.entries)}
    # the sort is stable: levers with equal savings stay in the order of LEVERS, as in the verdict
    return sorted(points, key=lambda p: (order[key(p.prediction)], -half[p.lever, key(p.prediction)]))


@dataclass(frozen=True)
class ChangePoint:
    """The prediction for one phase and a change to several layers at once, or the reason why there is none."""

    change: BroadChange
    prediction: Prediction


def predict_changes(replay: Replay) -> list[ChangePoint]:
    """Return the predictions of a faster CPU and of CUDA graphs for each phase, in the result's order."""
    points = [ChangePoint(change, prediction) for change in CHANGES for prediction in replay.predict(change.scenario)]
    order = {key(entry): number for number, entry in enumerate(replay.result.entries)}
    return sorted((p for p in points if p.prediction.wall_ns), key=lambda p: order[key(p.prediction)])


def sweep_levers(replay: Replay) -> list[LeverPoint]:
    """Return the curve of each lever for each phase (predictions at FACTORS), and the curve over CPU SPEEDS."""
    points: list[LeverPoint] = []
    for lever in LEVERS:
        for factor in FACTORS:
            points += _points(replay, lever, factor, replay.predict(_with_factor(lever.half, factor)))
    for speed in SPEEDS:
        predictions = replay.predict(Scenario(cpu=speed))
        points += [
            LeverPoint("cpu", "CPU speed", speed, prediction) for prediction in predictions if prediction.reason is None
        ]
    order = {key(entry): number for number, entry in enumerate(replay.result.entries)}
    return sorted(points, key=lambda p: order[key(p.prediction)])


def _with_factor(half: Scenario, factor: float) -> Scenario:
    """Return the scenario `half` of a lever with another factor in place of 0.5."""
    changed: dict[str, Any] = {name: factor for name in SCENARIO_FACTORS if getattr(half, name) != 1}
    return replace(half, **changed)


def _points(replay: Replay, lever: Lever, factor: float, predictions: Sequence[Prediction]) -> list[LeverPoint]:
    return [
        LeverPoint(lever.name, lever.title, factor, prediction)
        for entry, prediction in zip(replay.result.entries, predictions, strict=True)
        if prediction.reason is None and lever.applies(entry)
    ]


def speeds_to_bound(replay: Replay) -> dict[Key, float | None]:
    """Return the CPU speed at which each phase becomes device-bound; None if 64 times the speed is not enough.

    A phase that is already device-bound has speed 1. Phases without a prediction are left out.
    """
    speeds: dict[Key, float | None] = {}
    for number, entry in enumerate(replay.result.entries):
        if _idle(replay, number, 1.0) is None:
            continue
        speeds[key(entry)] = _speed(replay, number, entry)
    return speeds


def _speed(replay: Replay, number: int, entry: Phase) -> float | None:
    def bound(speed: float) -> bool:
        idle = _idle(replay, number, speed)
        return idle is not None and idle < DEVICE_BOUND_IDLE

    if bound(1.0):
        return 1.0
    if not bound(FASTEST):
        return None
    low, high = 1.0, FASTEST
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if bound(middle) else (middle, high)
    return high


def _idle(replay: Replay, number: int, speed: float) -> float | None:
    return replay.predict(Scenario(cpu=speed))[number].idle_share
