"""The one sentence on a phase's idle time: which gaps make most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts
from taxbreak_nsys.model.kernel_classes import OTHER, KernelClass, class_titles, classify
from taxbreak_nsys.totals.listing_rows import Row

_ENOUGH = 0.5
"""A group of gaps with this share of the idle time is what the sentence is about."""
_ANY = "any"


def largest_groups(
    lengths: ValueCounts, causes: Sequence[Mapping[str, Any]], classes: Sequence[KernelClass]
) -> list[Row]:
    """Return for each entry the narrowest group of gaps that makes at least half of its idle time.

    `lengths` are the gap lengths (ns) by cause, `causes` describes each: entry, state, and the kernel that ended the
    gap. Groups are tried from narrow to wide: by kernel, by class of kernel, by host state, all gaps. A row has the
    group's `share` of the idle time, its `instances`, the 10th and 90th percentile of their lengths, and the state that
    the host was in for most of them.
    """
    titles = class_titles(classes)
    names = sorted({cause["name"] for cause in causes if cause["name"] is not None})
    class_of = {name: titles[found] for name, found in zip(names, classify(names, classes), strict=True)}

    def by_class(cause: Mapping[str, Any]) -> str | None:
        title = class_of.get(cause["name"])
        return None if title == titles[OTHER] else title

    groupings: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "kernel": lambda cause: cause["name"],
        "class": by_class,
        "state": lambda cause: cause["state"],
        _ANY: lambda cause: _ANY,
    }
    found: dict[int, Row] = {}
    for kind, name_of in groupings.items():
        keys: dict[tuple[int, str | None], int] = {}
        group_of = np.array([keys.setdefault((c["entry"], name_of(c)), len(keys)) for c in causes], np.int64)
        grouped = lengths.regrouped(group_of)
        stats, low, high = grouped.stats(), grouped.percentiles(10), grouped.percentiles(90)
        idle: dict[int, int] = {}
        for (entry, _), number in keys.items():
            idle[entry] = idle.get(entry, 0) + stats[number].total
        for (entry, name), number in sorted(keys.items(), key=lambda item: -stats[item[1]].total):
            share = stats[number].total / idle[entry] if idle[entry] else 0.0
            if entry in found or name is None or (share < _ENOUGH and kind != _ANY):
                continue
            members = [k for k, group in enumerate(group_of.tolist()) if group == number]
            state, state_share = _main_state(lengths, causes, members)
            found[entry] = {
                "entry": entry,
                "kind": kind,
                "name": name,
                "share": share,
                "idle_ns": idle[entry],
                "total_ns": stats[number].total,
                "instances": stats[number].count,
                "low_ns": low[number],
                "high_ns": high[number],
                "state": state,
                "state_share": state_share,
            }
    return [found[entry] for entry in sorted(found)]


def _main_state(
    lengths: ValueCounts, causes: Sequence[Mapping[str, Any]], members: Sequence[int]
) -> tuple[str, float]:
    """Return the host state that most of some gaps' time is counted under, and its share of that time."""
    stats = lengths.stats()
    times: dict[str, int] = {}
    for number in members:
        state = causes[number]["state"]
        times[state] = times.get(state, 0) + stats[number].total
    state = max(times, key=lambda name: (times[name], name))
    total = sum(times.values())
    return state, times[state] / total if total else 0.0
