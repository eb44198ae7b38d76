"""The verdict's forecast: what halving each layer saves of a phase, from a few of its instances.

`predict.py` replays everything; the main command only needs shares, so large reports are sampled: a replay of
the instances whose wall time lies nearest to the median, or of the middle of one that is long.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taxbreak_nsys.columns import Columns
from taxbreak_nsys.replay.levers import DEVICE_LEVERS, LEVERS
from taxbreak_nsys.replay.model import ThreadModel, build
from taxbreak_nsys.replay.predict import Key, key, pieces_now, why_not
from taxbreak_nsys.replay.scenarios import Scenario, change
from taxbreak_nsys.replay.simulate import replay
from taxbreak_nsys.replay.typical import Typical
from taxbreak_nsys.replay.work import OpIndex, launches_within
from taxbreak_nsys.result import Phase, Result, Verdict

SMALL = 4_000
"""A sample is full at this many launches."""
MOST_INSTANCES = 5
NAMED = ("framework", "library", "framework_library", "launch", "kernels", "copies")
"""The levers that the verdict forecasts, by half."""


def with_savings(result: Result) -> Result:
    """Return the result with each verdict's forecast, or the reason why there is none."""
    samples = _samples(result)
    entries = tuple(_forecast(result.columns, entry, samples) for entry in result.entries)
    return replace(result, entries=entries)


def _samples(result: Result) -> dict[Key, list[ThreadModel]]:
    """Build models of some instances of every phase of every thread that can be predicted."""
    columns = result.columns
    typical, index = Typical.of(columns, result.t_sys_ns), OpIndex.of(columns)
    found: dict[Key, list[ThreadModel]] = {}
    for entry in result.entries:
        if entry.combined or why_not(entry) is not None:
            continue
        found[key(entry)] = [
            build(columns, index, thread, typical, (low, high)) for thread, low, high in _windows(columns, entry)
        ]
    return found


def _windows(columns: Columns, entry: Phase) -> list[tuple[int, int, int]]:
    """Return (thread, start, end) of the stretches to replay: instances of about the median wall time."""
    instances = columns.instances
    ids = (instances.thread >> 24 & 0xFFFFFF == entry.process) & (instances.thread & 0xFFFFFF == entry.thread)
    which = np.flatnonzero(ids & (instances.label == instances.labels.index(entry.phase)))
    order = which[np.argsort(np.abs(instances.wall[which] - (entry.wall_median_ns or 0)), kind="stable")]
    windows: list[tuple[int, int, int]] = []
    launched = 0
    for instance in order[:MOST_INSTANCES].tolist():
        thread, low, high = (int(c[instance]) for c in (instances.thread, instances.start, instances.end))
        first, past = launches_within(columns, thread, low, high)
        if past - first > SMALL:
            middle = (first + past - SMALL) // 2
            low, high = (int(columns.launches.start[at]) for at in (middle, middle + SMALL))
        windows.append((thread, low, high))
        launched += past - first
        if launched >= SMALL:
            break
    return windows


def _forecast(columns: Columns, entry: Phase, samples: dict[Key, list[ThreadModel]]) -> Phase:
    reason = why_not(entry) or (entry.verdict.why if entry.verdict.target is None else None)
    if reason is not None:
        return replace(entry, verdict=_without(entry, reason))
    parts = [
        (single, model)
        for (label, process, thread), models in samples.items()
        for single in [entry if not entry.combined else replace(entry, process=process, thread=thread)]
        if (label, process, thread) == key(single)
        for model in models
    ]
    before = sum(_wall(columns, model, single, Scenario()) for single, model in parts)
    if not before:
        return replace(entry, verdict=_without(entry, "the phase has no wall time"))
    savings = {
        lever.name: 1 - sum(_wall(columns, model, single, lever.half) for single, model in parts) / before
        for lever in LEVERS
        if lever.name in NAMED and lever.half is not None and lever.applies(entry)
    }
    return replace(entry, verdict=_told(entry, savings))


def _wall(columns: Columns, model: ThreadModel, entry: Phase, scenario: Scenario) -> int:
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
