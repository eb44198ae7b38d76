"""Sums and percentiles by group that grow batch by batch: exact, in memory proportional to the distinct entries.

A group is an integer of 0 or more: usually (code of a name) × (number of phase entries) + (phase entry).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, begins

_VALUE_BITS = 40
_GROUP_BITS = 23
_DENSE = 1 << 21
"""Up to this many groups, a table with one element per group is faster than sorting."""
_LOW_BITS = 30
_EXACT = 1 << 53
"""A double represents every integer up to this one exactly."""


def group_sums(group: Ints, value: Ints, groups: int) -> Ints:
    """Return the exact sum of the values of each group (0 … groups-1) as int64.

    `np.bincount` adds doubles in a quarter of the time of `np.add.at`. Every partial sum stays below 2**53, where
    doubles are exact: large values are added in a low and a high part.
    """
    if len(value) and value.min() >= 0 and int(value.max()) * len(value) < _EXACT:
        return np.bincount(group, value, groups).astype(np.int64)
    low = np.bincount(group, (value & ((1 << _LOW_BITS) - 1)).astype(np.float64), groups)
    high = value >> _LOW_BITS
    total: Ints = low.astype(np.int64)
    if high.any():
        total += np.bincount(group, high.astype(np.float64), groups).astype(np.int64) << _LOW_BITS
    return total


class GroupSums:
    """Sums by group of the columns that the constructor names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self._groups: list[Ints] = []
        self._sums: list[Ints] = []

    def add(self, group: Ints, **values: Ints | int) -> None:
        """Add rows: `group` has one element per row; each column has one value per row, or one integer for all rows."""
        if not len(group):
            return
        highest = int(group.max()) + 1
        if highest <= _DENSE:
            distinct = np.flatnonzero(np.bincount(group, minlength=highest))
            sums = [self._dense(group, values[name], highest)[distinct] for name in self.names]
        else:
            distinct, place = np.unique(group, return_inverse=True)
            sums = [self._dense(place, values[name], len(distinct)) for name in self.names]
        self._groups.append(distinct)
        self._sums.append(np.stack(sums, axis=1))
        if len(self._groups) > 64:
            self._merge()

    @staticmethod
    def _dense(group: Ints, value: Ints | int, groups: int) -> Ints:
        if isinstance(value, int):
            return np.bincount(group, minlength=groups).astype(np.int64) * value
        return group_sums(group, value, groups)

    def _merge(self) -> None:
        if len(self._groups) > 1:
            distinct, place = np.unique(np.concatenate(self._groups), return_inverse=True)
            sums = np.zeros((len(distinct), len(self.names)), np.int64)
            np.add.at(sums, place, np.concatenate(self._sums))
            self._groups, self._sums = [distinct], [sums]

    def table(self) -> dict[int, dict[str, int]]:
        """Return {group: {column name: sum}}."""
        self._merge()
        if not self._groups:
            return {}
        rows = self._sums[0].tolist()
        return {
            group: dict(zip(self.names, row, strict=True))
            for group, row in zip(self._groups[0].tolist(), rows, strict=True)
        }


@dataclass(frozen=True)
class ValueStats:
    """Statistics of the values of one group; `median` is the value at index floor((count-1)/2) of the sorted values."""

    count: int
    total: int
    median: int
    least: int
    largest: int


class ValueCounts:
    """Counts of each value in each group: exact percentiles without a list of all values."""

    def __init__(self) -> None:
        self._keys: list[Ints] = []
        self._counts: list[Ints] = []
        self._large: list[tuple[Ints, Ints]] = []
        self._held, self._merged = 0, 0

    def add(self, group: Ints, value: Ints) -> None:
        """Add values; `group` and `value` have one element per value."""
        if not len(group):
            return
        if min(value.min(), group.min()) < 0 or value.max() >> _VALUE_BITS or group.max() >> _GROUP_BITS:
            fits = (value >> _VALUE_BITS == 0) & (group >> _GROUP_BITS == 0)
            self._large.append((group[~fits], value[~fits]))
            group, value = group[fits], value[fits]
        self._hold(np.sort((group << _VALUE_BITS) | value))
        if self._held > 2 * self._merged + _DENSE // 8:
            self._merge()

    def _hold(self, keys: Ints, counts: Ints | None = None) -> None:
        """Append sorted keys, equal neighbours merged and their counts added; None counts each key once."""
        if not len(keys):
            return
        first = begins(keys[1:] != keys[:-1])
        self._keys.append(keys[first])
        self._counts.append(np.diff(first, append=len(keys)) if counts is None else np.add.reduceat(counts, first))
        self._held += len(first)

    def _merge(self) -> None:
        if len(self._keys) > 1:
            keys, counts = np.concatenate(self._keys), np.concatenate(self._counts)
            order = np.argsort(keys, kind="stable")
            self._keys, self._counts, self._held = [], [], 0
            self._hold(keys[order], counts[order])
        self._merged = self._held

    def _table(self) -> tuple[Ints, Ints, Ints]:
        """Return (group, value, count), sorted by group and value."""
        self._merge()
        empty = np.empty(0, np.int64)
        keys = self._keys[0] if self._keys else empty
        counts = self._counts[0] if self._counts else empty
        group, value = keys >> _VALUE_BITS, keys & ((1 << _VALUE_BITS) - 1)
        if self._large:
            more_group, more_value = (np.concatenate(column) for column in zip(*self._large, strict=True))
            group, value = np.r_[group, more_group], np.r_[value, more_value]
            counts = np.r_[counts, np.ones(len(more_group), np.int64)]
            order = np.lexsort((value, group))
            group, value, counts = group[order], value[order], counts[order]
        return group, value, counts

    def regrouped(self, group_of: Ints) -> ValueCounts:
        """Return the values with every group g renumbered to `group_of[g]`; groups may merge."""
        result = ValueCounts()
        for keys, counts in zip(self._keys, self._counts, strict=True):
            renumbered = (group_of[keys >> _VALUE_BITS] << _VALUE_BITS) | (keys & ((1 << _VALUE_BITS) - 1))
            order = np.argsort(renumbered, kind="stable")
            result._hold(renumbered[order], counts[order])
        result._large = [(group_of[group], value) for group, value in self._large]
        return result

    def above(self, floor: int) -> dict[int, int]:
        """Return {group: sum of max(value - floor, 0)}."""
        group, value, count = self._table()
        totals = GroupSums("ns")
        totals.add(group, ns=np.maximum(value - floor, 0) * count)
        return {key: row["ns"] for key, row in totals.table().items()}

    def values(self) -> tuple[Ints, Ints]:
        """Return the distinct (group, value) pairs as two columns, sorted."""
        group, value, _ = self._table()
        return group, value

    def percentile(self, p: int, group: int = 0) -> int | None:
        """Return the p-th percentile of a group, defined as in `intervals.percentile`; None for an empty group."""
        return self.percentiles(p).get(group)

    def percentiles(self, p: int) -> dict[int, int]:
        """Return {group: p-th percentile}: of n sorted values, the value at index floor((n-1)*p/100)."""
        group, value, count = self._table()
        if not len(group):
            return {}
        first = begins(group[1:] != group[:-1])
        until = np.cumsum(count)
        before = np.r_[np.int64(0), until][first]
        number = np.r_[before[1:], until[-1]] - before
        at = np.searchsorted(until, before + (number - 1) * p // 100, side="right")
        return dict(zip(group[first].tolist(), value[at].tolist(), strict=True))

    def stats(self) -> dict[int, ValueStats]:
        """Return {group: its statistics}."""
        group, value, count = self._table()
        if not len(group):
            return {}
        medians = self.percentiles(50)
        first = begins(group[1:] != group[:-1])
        last = np.r_[first[1:] - 1, len(group) - 1]
        columns = (
            group[first],
            np.add.reduceat(count, first),
            np.add.reduceat(count * value, first),
            value[first],
            value[last],
        )
        return {
            key: ValueStats(count=number, total=total, median=medians[key], least=least, largest=largest)
            for key, number, total, least, largest in zip(*(c.tolist() for c in columns), strict=True)
        }


class ExcessOverFloor:
    """The sum by group of min(max(value - floor, 0), cap), for a floor that is known only after all values.

    min(max(v - floor, 0), cap) = max(v - floor, 0) - max(v - cap - floor, 0), so the counts of v and of v - cap give
    the sum for any floor of 0 or more.
    """

    def __init__(self) -> None:
        self._values, self._beyond = ValueCounts(), ValueCounts()

    def add(self, group: Ints, value: Ints, cap: Ints | None = None) -> None:
        """Add values and their caps, both 0 or more; None: no caps."""
        self._values.add(group, value)
        if cap is not None:
            self._beyond.add(group, np.maximum(value - cap, 0))

    def total(self, floor: int) -> dict[int, int]:
        """Return {group: sum of min(max(value - floor, 0), cap)}."""
        beyond = self._beyond.above(floor)
        return {group: total - beyond.get(group, 0) for group, total in self._values.above(floor).items()}
