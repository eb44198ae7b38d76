"""Which lever saves most of a phase, by the same replay that `whatif` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taxbreak_nsys.arrays.background import BackgroundTask
from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers
from taxbreak_nsys.replay.levers import DEVICE_LEVERS, GRAPHS, LEVERS, Lever
from taxbreak_nsys.replay.predicted_phase import Key, Prediction, key
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Phase
from taxbreak_nsys.verdict.device_word import busy_share

NEAR = 0.1
"""Levers whose saving lies within this part of the best one's are named with it."""
WORTH = 0.01
"""What a lever must save of a phase, halved, to be its target."""
_LAYER_OF_LEVER = {"launch": "launch_path", "copy_calls": "memop"}
"""The levers whose layer has another name among the exposed layers."""


@dataclass(frozen=True)
class Forecasts:
    """What the replay predicts of each phase entry: by lever half of it, and CUDA graphs."""

    halves: Mapping[str, Mapping[Key, Prediction]]
    graphs: Mapping[Key, Prediction]

    @classmethod
    def of(cls, replay: Replay) -> Forecasts:
        """Replay every lever's half, and CUDA graphs."""
        scenarios = [*(lever.half for lever in LEVERS), GRAPHS.scenario]

        def predicted(part: Sequence[Scenario]) -> list[dict[Key, Prediction]]:
            return [{key(one): one for one in replay.predict(scenario, in_full=False)} for scenario in part]

        # Nothing else runs by now, so a second core is free.
        with BackgroundTask(lambda: predicted(scenarios[1::2])) as others:
            by_scenario: list[dict[Key, Prediction]] = [{} for _ in scenarios]
            by_scenario[::2] = predicted(scenarios[::2])
            by_scenario[1::2] = others.result()
        *halves, graphs = by_scenario
        return cls({lever.name: half for lever, half in zip(LEVERS, halves, strict=True)}, graphs)

    def savings(self, entry: Phase) -> dict[str, float | None]:
        """Return the share of a phase that halving each lever saves; None where a lever does not apply to it."""
        shares = {name: of_lever[key(entry)].saved_share for name, of_lever in self.halves.items()}
        return {lever.name: shares[lever.name] if lever.applies(entry) else None for lever in LEVERS}

    def saved_ns(self, entry: Phase, lever: Lever) -> int | None:
        """Return the time of a phase that halving a lever saves, ns."""
        half = self.halves[lever.name][key(entry)]
        if half.completion_ns is None or half.predicted_completion_ns is None:
            return None
        return half.completion_ns - half.predicted_completion_ns


def best_levers(savings: Mapping[str, float | None]) -> list[Lever]:
    """Return the lever that saves most and those that save nearly as much, best first; empty where none is worth it."""
    known = [(share, lever) for lever in LEVERS if (share := savings.get(lever.name)) is not None]
    if not known:
        return []
    ranked = sorted(known, key=lambda one: -one[0])
    most = ranked[0][0]
    return [lever for share, lever in ranked if most >= WORTH and share >= most * (1 - NEAR)]


def exposed_share(entry: Phase, lever: Lever) -> float | None:
    """Return the exposed share of a lever's layer; of a device lever, the share in which the device is busy."""
    if lever.name in DEVICE_LEVERS:
        return busy_share(entry)
    exposed = phase_exposed_layers(entry)
    if exposed is None or not entry.wall_ns:
        return None
    return exposed[_LAYER_OF_LEVER.get(lever.name, lever.name)] / entry.wall_ns
