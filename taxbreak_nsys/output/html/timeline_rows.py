"""The rows of one step's timeline, and the data that the page's script draws from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.model.kernel_names import short_name
from taxbreak_nsys.output.html.thinning import Thinned

Json = dict[str, Any]

NAME_LENGTH = 160


@dataclass
class ChartNames:
    """The distinct names of the page, numbered from 0 in order of first use and cut to `NAME_LENGTH` characters."""

    codes: dict[str, int] = field(default_factory=dict)
    shorts: dict[int, str] = field(default_factory=dict)
    """The short names of kernels, by number."""

    def kernel_code(self, name: str) -> int:
        """Return the number of a kernel's name, and keep its short name."""
        code = self.code(name)
        self.shorts.setdefault(code, short_name(name))
        return code

    def code(self, name: str) -> int:
        """Return the number of a name, a new one for a new name."""
        shown = name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
        return self.codes.setdefault(shown, len(self.codes))


@dataclass(frozen=True)
class NamedColumn:
    """A column of names: one code per row into `texts`, -1 for none."""

    code: Ints
    texts: tuple[str, ...]

    @classmethod
    def of(cls, code: Ints, names: Sequence[str]) -> NamedColumn:
        """Return the column for codes into `names`, keeping only the names that occur."""
        distinct, index = np.unique(code, return_inverse=True)
        texts = tuple(names[c] for c in distinct.tolist() if c >= 0)
        # np.unique puts -1 first, so its index becomes -1 again
        return cls(np.asarray(index, np.int64).reshape(-1) - (len(distinct) - len(texts)), texts)

    def page_numbers(self, number: Callable[[str], int]) -> Ints:
        """Return the page's number (`ChartNames`) of each row's name, -1 for none."""
        numbers = np.array([*map(number, self.texts), -1], np.int64)
        return numbers[self.code]


@dataclass(frozen=True)
class HostRow:
    """The host's row of a timeline; each column has one value per entry, `gap` is the time before the entry, ns."""

    gap: Ints
    entries: Thinned
    name: NamedColumn
    kernel: NamedColumn


@dataclass(frozen=True)
class DeviceOpsRow:
    """One device row of a timeline; each column has one value per entry.

    `gap` is the time before the entry, `waited` the time since its launch (-1: unknown), ns.
    """

    title: str
    gap: Ints
    entries: Thinned
    name: NamedColumn
    waited: Ints


@dataclass(frozen=True)
class RangeRow:
    """One level of nested NVTX ranges in a timeline; each column has one value per entry."""

    gap: Ints
    entries: Thinned
    name: NamedColumn


@dataclass(frozen=True)
class StepTimeline:
    """The timeline of one step, from `start` over `span` (ns); `hidden` counts device rows that are left out.

    `reason` says why the device time of the step is not measured (None if it is).
    """

    start: int
    span: int
    host: HostRow
    ranges: tuple[RangeRow, ...]
    device: tuple[DeviceOpsRow, ...]
    hidden: int
    reason: str | None

    @property
    def width(self) -> int:
        """The largest width of the host and device rows (`Thinned.width`), ns; 0 if nothing is merged."""
        return max([self.host.entries.width, *(row.entries.width for row in self.device)])

    @property
    def events(self) -> int:
        """The number of entries in all rows."""
        rows: tuple[HostRow | RangeRow | DeviceOpsRow, ...] = (self.host, *self.ranges, *self.device)
        return sum(len(row.entries) for row in rows)

    def to_json(self, names: ChartNames) -> Json:
        """Return the data that the page's script draws; times in ns."""
        return {
            "start": self.start,
            "span": self.span,
            "host": self._host_json(names),
            "ranges": [_range_json(row, names) for row in self.ranges],
            "device": [_device_json(row, names) for row in self.device],
            "hidden": self.hidden,
            "reason": self.reason,
            "width": self.width,
        }

    def _host_json(self, names: ChartNames) -> Json:
        """Return the columns duration, state, name, kernel, gap before the entry, count."""
        entries = self.host.entries
        return {
            "d": entries.duration.tolist(),
            "s": "".join(map(str, entries.kind.tolist())),
            "n": sparse(self.host.name.page_numbers(names.code), -1),
            "k": sparse(self.host.kernel.page_numbers(names.kernel_code), -1),
            "g": sparse(self.host.gap, 0),
            "c": sparse(entries.count, 1),
        }


def _range_json(row: RangeRow, names: ChartNames) -> Json:
    return {
        "g": row.gap.tolist(),
        "d": row.entries.duration.tolist(),
        "s": "0" * len(row.entries),
        "n": row.name.page_numbers(names.code).tolist(),
        "c": sparse(row.entries.count, 1),
    }


def _device_json(row: DeviceOpsRow, names: ChartNames) -> Json:
    return {
        "title": row.title,
        "g": row.gap.tolist(),
        "d": row.entries.duration.tolist(),
        "s": "".join(map(str, row.entries.kind.tolist())),
        "n": row.name.page_numbers(names.kernel_code).tolist(),
        "l": row.waited.tolist(),
        "c": sparse(row.entries.count, 1),
    }


def sparse(values: Ints, usual: int) -> Json:
    """Return a column in sparse form: the values other than `usual`, and the distances between their places.

    If that is not shorter, return all values.
    """
    places = np.flatnonzero(values != usual)
    if len(places) * 2 >= len(values):
        return {"all": values.tolist()}
    return {"usual": usual, "skip": np.diff(places, prepend=0).tolist(), "value": values[places].tolist()}
