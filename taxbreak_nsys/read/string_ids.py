"""Integer codes for the names in a report; a name has the same code in every batch of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.read.database import Database

UNKNOWN = "[unknown]"
"""Stands for the name where an id has no row in StringIds."""

_DENSE = 1 << 22
"""Ids below this are looked up in an array, others in a dict; nsys numbers its strings from 0."""


class StringNames:
    """Distinct names; a name's code is its index in order of appearance."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def code(self, name: str) -> int:
        """Return the code of a name, adding the name if it is new."""
        return self._code.setdefault(name, len(self._code))

    def codes(self, names: Sequence[str]) -> Ints:
        """Return the code of each name, adding new names."""
        return np.fromiter(map(self.code, names), np.int64, len(names))

    @property
    def all(self) -> tuple[str, ...]:
        """The names by code."""
        return tuple(self._code)

    def __len__(self) -> int:
        return len(self._code)


class NameIds:
    """Turns ids of StringIds into codes; each id is queried once.

    `spell` is applied to every string before it gets its code (an API name without its version).
    """

    def __init__(self, database: Database, names: StringNames, spell: Callable[[str], str] = str) -> None:
        self._database, self._names, self._spell = database, names, spell
        self._dense = np.full(1024, -1, np.int64)
        self._rare: dict[int, int] = {}

    def codes(self, ids: Ints) -> Ints:
        """Return the code of each id."""
        if not len(ids):
            return ids
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= _DENSE:
            code, distinct = arrow_codes.distinct_values(ids)
            self._learn([number for number in distinct.tolist() if number not in self._rare])
            return np.array([self._rare[number] for number in distinct.tolist()], np.int64)[code]
        if high >= len(self._dense):
            grown = np.full(max(high + 1, 2 * len(self._dense)), -1, np.int64)
            grown[: len(self._dense)] = self._dense
            self._dense = grown
        codes = self._dense[ids]
        if (codes < 0).any():
            fresh = np.unique(ids[codes < 0]).tolist()
            self._learn([number for number in fresh if number not in self._rare])
            self._dense[fresh] = [self._rare[number] for number in fresh]
            codes = self._dense[ids]
        return codes

    def _learn(self, ids: list[int]) -> None:
        if not ids:
            return
        table = self._database.query("event_names", ids=json.dumps([number for number in ids if number >= 0]))
        texts = arrow_codes.texts(table["name"]).to_pylist()
        strings = dict(zip(arrow_codes.numbers(table["name_id"]).tolist(), texts, strict=True))
        for number in ids:
            self._rare[number] = self._names.code(self._spell(strings.get(number, UNKNOWN)))
