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
    """Distinct names of the page, each once; long names are cut where they are only shown on hovering."""

    codes: dict[str, int] = field(default_factory=dict)
    shorts: dict[int, str] = field(default_factory=dict)
    """The short names of the kernels among them, by number."""

    def kernel_code(self, name: str) -> int:
        """Return the number of a kernel's name."""
        code = self.code(name)
        self.shorts.setdefault(code, short_name(name))
        return code

    def code(self, name: str) -> int:
        """Return the number of a name."""
        shown = name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
        return self.codes.setdefault(shown, len(self.codes))


@dataclass(frozen=True)
class NamedColumn:
    """A column of names: a code per row (-1: none) into some texts."""

    code: Ints
    texts: tuple[str, ...]

    @classmethod
    def of(cls, code: Ints, names: Sequence[str]) -> NamedColumn:
        """Return a column of codes into all names as a column of codes into those that it uses."""
        distinct, at = np.unique(code, return_inverse=True)
        texts = tuple(names[c] for c in distinct.tolist() if c >= 0)
        return cls(np.asarray(at, np.int64).reshape(-1) - (len(distinct) - len(texts)), texts)

    def spelt(self, code_of: Callable[[str], int]) -> Ints:
        """Return the page's number of each name, -1 for none."""
        numbers = np.array([*map(code_of, self.texts), -1], np.int64)
        return numbers[self.code]


@dataclass(frozen=True)
class HostRow:
    """The host's row of a timeline; columns over its entries."""

    gap: Ints
    entries: Thinned
    name: NamedColumn
    kernel: NamedColumn


@dataclass(frozen=True)
class DeviceOpsRow:
    """One device row of a timeline; columns over its entries. `waited` is the time since the launch, -1: unknown."""

    title: str
    gap: Ints
    entries: Thinned
    name: NamedColumn
    waited: Ints


@dataclass(frozen=True)
class RangeRow:
    """One level of nested NVTX ranges in a timeline; columns over its entries."""

    gap: Ints
    entries: Thinned
    name: NamedColumn


@dataclass(frozen=True)
class StepTimeline:
    """The timeline of one step; `width` is as in `Thinned`, `hidden` counts device rows that are left out."""

    start: int
    span: int
    host: HostRow
    ranges: tuple[RangeRow, ...]
    device: tuple[DeviceOpsRow, ...]
    hidden: int
    reason: str | None

    @property
    def width(self) -> int:
        """The width below which entries are drawn together, ns; 0 where all are there."""
        return max([self.host.entries.width, *(row.entries.width for row in self.device)])

    @property
    def events(self) -> int:
        """The number of entries."""
        rows: tuple[HostRow | RangeRow | DeviceOpsRow, ...] = (self.host, *self.ranges, *self.device)
        return sum(len(row.entries) for row in rows)

    def to_json(self, names: ChartNames) -> Json:
        """Return what the page's script draws."""
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
        """Return columns: duration, state, name and kernel (for the states that have one), gap before, count."""
        entries = self.host.entries
        return {
            "d": entries.duration.tolist(),
            "s": "".join(map(str, entries.kind.tolist())),
            "n": sparse(self.host.name.spelt(names.code), -1),
            "k": sparse(self.host.kernel.spelt(names.kernel_code), -1),
            "g": sparse(self.host.gap, 0),
            "c": sparse(entries.count, 1),
        }


def _range_json(row: RangeRow, names: ChartNames) -> Json:
    return {
        "g": row.gap.tolist(),
        "d": row.entries.duration.tolist(),
        "s": "0" * len(row.entries),
        "n": row.name.spelt(names.code).tolist(),
        "c": sparse(row.entries.count, 1),
    }


def _device_json(row: DeviceOpsRow, names: ChartNames) -> Json:
    return {
        "title": row.title,
        "g": row.gap.tolist(),
        "d": row.entries.duration.tolist(),
        "s": "".join(map(str, row.entries.kind.tolist())),
        "n": row.name.spelt(names.kernel_code).tolist(),
        "l": row.waited.tolist(),
        "c": sparse(row.entries.count, 1),
    }


def sparse(values: Ints, usual: int) -> Json:
    """Return a column as the distances between the places that are not the usual value, and their values.

    Written in full where that is shorter.
    """
    at = np.flatnonzero(values != usual)
    if len(at) * 2 >= len(values):
        return {"all": values.tolist()}
    return {"usual": usual, "skip": np.diff(at, prepend=0).tolist(), "value": values[at].tolist()}
