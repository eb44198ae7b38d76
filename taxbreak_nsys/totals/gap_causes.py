"""The groups of gaps that cause most of a phase's idle time, for the sentence in the text report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.grouped import ValueCounts
from taxbreak_nsys.model.kernel_classes import OTHER, KernelClass, class_titles, classify
from taxbreak_nsys.totals.listing_rows import Row

_ENOUGH = 0.5
"""The sentence names a group of gaps with at least this share of the idle time."""
_ANY = "any"


def largest_groups(
    lengths: ValueCounts, causes: Sequence[Mapping[str, Any]], classes: Sequence[KernelClass]
) -> list[Row]:
    """Return for each entry the narrowest group of gaps with at least half of its idle time.

    `lengths` are the gap lengths (ns) by cause, `causes` describes each: entry, state, and the kernel that ended the
    gap. Groups are tried from narrow to wide: by kernel, by class of kernel, by host state, all gaps. A row has the
    group's `share` of the idle time, its `instances`, the 10th and 90th percentile of their lengths, and the host state
    and the kernel with the largest share of the group's time.
    """
    titles = class_titles(classes)
    names = sorted({cause["name"] for cause in causes if cause["name"] is not None})
    class_of = {name: titles[kind] for name, kind in zip(names, classify(names, classes), strict=True)}

    def by_class(cause: Mapping[str, Any]) -> str | None:
        title = class_of.get(cause["name"])
        return None if title == titles[OTHER] else title

    groupings: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "kernel": lambda cause: cause["name"],
        "class": by_class,
        "state": lambda cause: cause["state"],
        _ANY: lambda cause: _ANY,
    }
    by_cause = lengths.stats()
    times_of = [by_cause[number].total for number in range(len(causes))]
    largest: dict[int, Row] = {}
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
            if entry in largest or name is None or (share < _ENOUGH and kind != _ANY):
                continue
            members = [k for k, group in enumerate(group_of.tolist()) if group == number]
            state, state_share = _largest(times_of, causes, members, "state")
            kernel, kernel_share = _largest(times_of, causes, members, "name")
            largest[entry] = {
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
                "kernel": kernel,
                "kernel_share": kernel_share,
            }
    return [largest[entry] for entry in sorted(largest)]


def _largest(
    times_of: Sequence[int], causes: Sequence[Mapping[str, Any]], members: Sequence[int], key: str
) -> tuple[str | None, float]:
    """Return the value of a key with the largest share of the members' time, and this share."""
    times: dict[str | None, int] = {}
    for number in members:
        cause = causes[number][key]
        times[cause] = times.get(cause, 0) + times_of[number]
    value = max(times, key=lambda name: (times[name], name or ""))
    total = sum(times.values())
    return value, times[value] / total if total else 0.0
