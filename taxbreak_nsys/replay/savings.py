"""The verdict's forecast: what halving each layer saves of a phase, from a few of its instances.

`predict.py` replays everything; the main command only needs shares, so large reports are sampled: a replay of
the instances whose wall time lies nearest to the median, or of the middle of one that is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import percentile
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.model.assumptions import Assumptions
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.replay.clip import clip_measured
from taxbreak_nsys.replay.levers import DEVICE_LEVERS, LEVERS
from taxbreak_nsys.replay.prediction import Key, key, pieces_now, why_not
from taxbreak_nsys.replay.scenarios import Scenario, change
from taxbreak_nsys.replay.simulate import replay
from taxbreak_nsys.replay.thread_model import ThreadModel, build
from taxbreak_nsys.replay.typical_delays import Gaps
from taxbreak_nsys.replay.work import OpIndex, launches_within
from taxbreak_nsys.result import Phase, Verdict
from taxbreak_nsys.totals.warning_facts import Piece

SMALL = 4_000
"""A sample is full at this many launches."""
MOST_INSTANCES = 5
NAMED = ("framework", "library", "framework_library", "launch", "kernels", "copies")
"""The levers that the verdict forecasts, by half."""


@dataclass(frozen=True)
class Sample:
    """A stretch of one thread to replay, with the columns that it needs, and how many launches it has."""

    columns: Measured
    thread: int
    low: int
    high: int
    launched: int


class SampleWindows:
    """The stretches that the forecast replays: instances of about their entry's median wall time.

    A stretch is the middle of an instance that is long. Pieces of a report are added in the order of time.
    """

    def __init__(self, entries: PhaseThreads, assumptions: Assumptions) -> None:
        """Choose the instances of every entry, the nearest to the median first."""
        self._instances = entries.instances
        self._wanted: dict[int, tuple[int, int]] = {}
        self._found: dict[tuple[int, int], Sample] = {}
        self._entries = entries
        self._gaps = Gaps(assumptions.clock_slack_ns)
        wall = entries.instances.wall
        for entry in range(len(entries)):
            which = np.flatnonzero(entries.instances_of(entry))
            median = percentile(wall[which], 50) or 0
            order = which[np.argsort(np.abs(wall[which] - median), kind="stable")]
            self._wanted |= {one: (entry, rank) for rank, one in enumerate(order[:MOST_INSTANCES].tolist())}

    def add(self, piece: Piece) -> None:
        """Keep the stretches that a piece holds."""
        columns, index = piece.columns, piece.index
        self._gaps.add(columns, piece.own_ops, piece.settled)
        for instance in index.tolist():
            if instance not in self._wanted:
                continue
            of = self._instances
            thread, low, high = (int(c[instance]) for c in (of.thread, of.start, of.end))
            first, past = launches_within(columns, thread, low, high)
            if past - first > SMALL:
                middle = (first + past - SMALL) // 2
                low, high = (int(columns.launches.start[at]) for at in (middle, middle + SMALL))
            held = clip_measured(columns, of, index, thread, low, high)
            self._found[self._wanted[instance]] = Sample(held, thread, low, high, past - first)

    def models(self, t_sys_ns: int) -> dict[int, list[tuple[Measured, ThreadModel]]]:
        """Return the models of each entry: as many stretches as it takes to have enough launches."""
        typical = self._gaps.typical(t_sys_ns)
        found: dict[int, list[tuple[Measured, ThreadModel]]] = {}
        for entry in range(len(self._entries)):
            launched = 0
            for rank in range(MOST_INSTANCES):
                sample = self._found.get((entry, rank))
                if sample is None or launched >= SMALL:
                    break
                model = build(
                    sample.columns, OpIndex.of(sample.columns), sample.thread, typical, (sample.low, sample.high)
                )
                found.setdefault(entry, []).append((sample.columns, model))
                launched += sample.launched
        return found


def with_savings(entries: Sequence[Phase], windows: SampleWindows, keys: Sequence[Key], t_sys_ns: int) -> list[Phase]:
    """Return phase entries with each verdict's forecast, or the reason why there is none.

    `keys` names the tally's entries, in their order.
    """
    models = windows.models(t_sys_ns) if any(why_not(entry) is None for entry in entries) else {}
    samples = {keys[number]: of for number, of in models.items()}
    told = {key(entry) for entry in entries if not entry.combined and why_not(entry) is None}
    samples = {name: of for name, of in samples.items() if name in told}
    return [_forecast(entry, samples) for entry in entries]


def _forecast(entry: Phase, samples: dict[Key, list[tuple[Measured, ThreadModel]]]) -> Phase:
    reason = why_not(entry) or (entry.verdict.why if entry.verdict.target is None else None)
    if reason is not None:
        return replace(entry, verdict=_without(entry, reason))
    parts = [
        (columns, model, single)
        for (label, process, thread), models in samples.items()
        for single in [entry if not entry.combined else replace(entry, process=process, thread=thread)]
        if (label, process, thread) == key(single)
        for columns, model in models
    ]
    before = sum(_wall(*part, Scenario()) for part in parts)
    if not before:
        return replace(entry, verdict=_without(entry, "the phase has no wall time"))
    savings = {
        lever.name: 1 - sum(_wall(*part, lever.half) for part in parts) / before
        for lever in LEVERS
        if lever.name in NAMED and lever.half is not None and lever.applies(entry)
    }
    return replace(entry, verdict=_told(entry, savings))


def _wall(columns: Measured, model: ThreadModel, entry: Phase, scenario: Scenario) -> int:
    """Return the wall time of an entry's instances within a model's window under a scenario, ns."""
    code = columns.instances.labels.index(entry.phase)
    changed = change(columns, model, scenario, {code: entry})
    owner, begin, end = pieces_now(columns.instances, model, replay(model, changed.host, changed.scale))
    return int((end - begin)[columns.instances.label[owner] == code].sum())


def _without(entry: Phase, reason: str) -> Verdict:
    """Return the verdict with no forecast: every lever is there, as null."""
    return replace(entry.verdict, savings=dict.fromkeys(NAMED), savings_reason=reason)


def _told(entry: Phase, savings: dict[str, float]) -> Verdict:
    """Return the verdict with its forecast in words: the host's best lever and the device's, the better first."""
    titles = {lever.name: lever.title for lever in LEVERS}
    host = max((name for name in savings if name not in DEVICE_LEVERS), key=lambda name: round(savings[name], 2))
    device = max(DEVICE_LEVERS, key=lambda name: round(savings[name], 2))
    first, second = sorted((host, device), key=lambda name: -savings[name])
    told = (
        f"halving {titles[first]} would save {max(savings[first], 0):.0%} of {entry.phase}, "
        f"halving {titles[second]} {max(savings[second], 0):.0%}"
    )
    every = dict.fromkeys(NAMED) | savings
    return replace(entry.verdict, savings=every, why=f"{entry.verdict.why}; {told}")
