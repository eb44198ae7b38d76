"""Sums and order statistics by group that can be added to: exact, and no larger than what is distinct.

A group is a whole number from 0 on, as a rule a name's code times the number of phase entries plus the entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, begins

_VALUE_BITS = 40
_GROUP_BITS = 23
_DENSE = 1 << 21
"""Up to this many groups are counted in a table."""
_LOW_BITS = 30
_EXACT = 1 << 53
"""Whole numbers up to this are doubles without loss."""


def group_sums(group: Ints, value: Ints, groups: int) -> Ints:
    """Return the sum of the values of each group (0 … groups-1), exactly.

    Sums of doubles, of which each is exact: a quarter of the time of `np.add.at`. Large values are added in two parts.
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
    """Sums of some columns by group; the columns' names are given once."""

    def __init__(self, *names: str) -> None:
        """Begin with nothing."""
        self.names = names
        self._groups: list[Ints] = []
        self._sums: list[Ints] = []

    def add(self, group: Ints, **values: Ints | int) -> None:
        """Add rows: a group each, and a value or one number for all in each column."""
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
        """Return the sums by group and column name."""
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
    """How many values a group had, their sum, median, least and largest."""

    count: int
    total: int
    median: int
    least: int
    largest: int


class ValueCounts:
    """How often each value came in each group: exact percentiles without keeping the values."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._keys: list[Ints] = []
        self._counts: list[Ints] = []
        self._large: list[tuple[Ints, Ints]] = []
        self._held, self._merged = 0, 0

    def add(self, group: Ints, value: Ints) -> None:
        """Add values, a group each."""
        if not len(group):
            return
        fits = (value >> _VALUE_BITS == 0) & (group >> _GROUP_BITS == 0)
        if not fits.all():
            self._large.append((group[~fits], value[~fits]))
            group, value = group[fits], value[fits]
        keys = np.sort((group << _VALUE_BITS) | value)
        self._hold(keys, np.ones(len(keys), np.int64))
        if self._held > 2 * self._merged + _DENSE // 8:
            self._merge()

    def _hold(self, keys: Ints, counts: Ints) -> None:
        """Keep keys that are sorted, each once with its count."""
        if not len(keys):
            return
        first = begins(keys[1:] != keys[:-1])
        self._keys.append(keys[first])
        self._counts.append(np.add.reduceat(counts, first))
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
        none = np.empty(0, np.int64)
        keys = self._keys[0] if self._keys else none
        counts = self._counts[0] if self._counts else none
        group, value = keys >> _VALUE_BITS, keys & ((1 << _VALUE_BITS) - 1)
        if self._large:
            more_group, more_value = (np.concatenate(column) for column in zip(*self._large, strict=True))
            group, value = np.r_[group, more_group], np.r_[value, more_value]
            counts = np.r_[counts, np.ones(len(more_group), np.int64)]
            order = np.lexsort((value, group))
            group, value, counts = group[order], value[order], counts[order]
        return group, value, counts

    def regrouped(self, group_of: Ints) -> ValueCounts:
        """Return the same values in other groups: those of group g in group `group_of[g]`; several may be in one."""
        found = ValueCounts()
        for keys, counts in zip(self._keys, self._counts, strict=True):
            other = (group_of[keys >> _VALUE_BITS] << _VALUE_BITS) | (keys & ((1 << _VALUE_BITS) - 1))
            order = np.argsort(other, kind="stable")
            found._hold(other[order], counts[order])
        found._large = [(group_of[group], value) for group, value in self._large]
        return found

    def above(self, floor: int) -> dict[int, int]:
        """Return by group the sum of what its values have above a floor."""
        group, value, count = self._table()
        totals = GroupSums("ns")
        totals.add(group, ns=np.maximum(value - floor, 0) * count)
        return {one: row["ns"] for one, row in totals.table().items()}

    def values(self) -> tuple[Ints, Ints]:
        """Return each distinct (group, value) once, sorted."""
        group, value, _ = self._table()
        return group, value

    def percentile(self, p: int, group: int = 0) -> int | None:
        """Return the p-th percentile of a group as `intervals.percentile` does; None for an empty one."""
        return self.percentiles(p).get(group)

    def percentiles(self, p: int) -> dict[int, int]:
        """Return the p-th percentile of every group: the value at index floor((n-1)*p/100) of n sorted ones."""
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
        """Return every group's figures."""
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
            one: ValueStats(number, total, medians[one], least, largest)
            for one, number, total, least, largest in zip(*(c.tolist() for c in columns), strict=True)
        }


class ExcessOverFloor:
    """By group, what its values have above a floor that is known later, each value at most its cap.

    min(max(v - floor, 0), cap) is max(v - floor, 0) less max(v - cap - floor, 0): two counts of values tell it for any
    floor of 0 or more.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._values, self._beyond = ValueCounts(), ValueCounts()

    def add(self, group: Ints, value: Ints, cap: Ints | None = None) -> None:
        """Add values with their caps, both 0 or more; None: there is no cap."""
        self._values.add(group, value)
        if cap is not None:
            self._beyond.add(group, np.maximum(value - cap, 0))

    def total(self, floor: int) -> dict[int, int]:
        """Return the sum for each group."""
        beyond = self._beyond.above(floor)
        return {group: total - beyond.get(group, 0) for group, total in self._values.above(floor).items()}
