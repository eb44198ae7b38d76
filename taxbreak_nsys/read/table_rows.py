"""Rows of one table as named integer columns: the batches that streams pass on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints

Column = Ints | Flags


class TableRows:
    """Columns of one length by name; every column is one-dimensional, int64 or bool."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Keep references to the columns; nothing is copied."""
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Ints:
        return cast(Ints, self.columns[name])

    def flag(self, name: str) -> Flags:
        """Return one bool column."""
        return cast(Flags, self.columns[name])

    def take(self, which: Flags | Ints | slice) -> TableRows:
        """Return the rows that `which` (mask, indices or slice) selects."""
        return TableRows({name: column[which] for name, column in self.columns.items()})

    @classmethod
    def joined(cls, parts: Sequence[TableRows]) -> TableRows:
        """Return the rows of all parts (at least one), in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns})

    @classmethod
    def empty(cls, names: Iterable[str], flags: Iterable[str] = ()) -> TableRows:
        """Return zero rows with int64 columns `names` and bool columns `flags`."""
        none = np.empty(0, np.int64)
        return cls(dict.fromkeys(names, none) | dict.fromkeys(flags, none.astype(bool)))
