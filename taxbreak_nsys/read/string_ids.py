"""Codes for names that stay the same over all the batches of a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.read.database import Database

UNKNOWN = "[unknown]"
"""The name of an id without a string."""

_DENSE = 1 << 22
"""Ids below this are looked up in a table; nsys numbers its strings from 0."""


class StringNames:
    """Distinct names in order of appearance; a name's code is its place."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def code(self, name: str) -> int:
        """Return the code of a name, a new one for a new name."""
        return self._code.setdefault(name, len(self._code))

    def codes(self, names: Sequence[str]) -> Ints:
        """Return the codes of some names."""
        return np.fromiter(map(self.code, names), np.int64, len(names))

    @property
    def all(self) -> tuple[str, ...]:
        """The names by code."""
        return tuple(self._code)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._code)


class NameIds:
    """Turns StringIds ids into codes; each id's string is asked for once.

    `spell` is applied to every string before it gets its code (an API name without its version).
    """

    def __init__(self, database: Database, names: StringNames, spell: Callable[[str], str] = str) -> None:
        """Look strings up in `database`, on its connection."""
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
            self._learn([one for one in distinct.tolist() if one not in self._rare])
            return np.array([self._rare[one] for one in distinct.tolist()], np.int64)[code]
        if high >= len(self._dense):
            grown = np.full(max(high + 1, 2 * len(self._dense)), -1, np.int64)
            grown[: len(self._dense)] = self._dense
            self._dense = grown
        found = self._dense[ids]
        if (found < 0).any():
            fresh = np.unique(ids[found < 0]).tolist()
            self._learn([one for one in fresh if one not in self._rare])
            self._dense[fresh] = [self._rare[one] for one in fresh]
            found = self._dense[ids]
        return found

    def _learn(self, ids: list[int]) -> None:
        if not ids:
            return
        table = self._database.query("event_names", ids=json.dumps([one for one in ids if one >= 0]))
        texts = arrow_codes.texts(table["name"]).to_pylist()
        strings = dict(zip(arrow_codes.numbers(table["name_id"]).tolist(), texts, strict=True))
        for one in ids:
            self._rare[one] = self._names.code(self._spell(strings.get(one, UNKNOWN)))
