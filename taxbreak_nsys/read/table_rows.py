"""Rows of one table as integer columns: what streams hand on, cut and joined without knowing what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints

Column = Ints | Flags


class TableRows:
    """Columns of one length by name; every column is one-dimensional, int64 or bool."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Hold the columns; they are not copied."""
        self.columns = dict(columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Ints:
        """Return one column of integers."""
        return cast(Ints, self.columns[name])

    def flag(self, name: str) -> Flags:
        """Return one column of truth values."""
        return cast(Flags, self.columns[name])

    def take(self, which: Flags | Ints | slice) -> TableRows:
        """Return some of the rows."""
        return TableRows({name: column[which] for name, column in self.columns.items()})

    @classmethod
    def joined(cls, parts: Sequence[TableRows]) -> TableRows:
        """Return the rows of all parts (at least one), in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns})

    @classmethod
    def empty(cls, names: Iterable[str], flags: Iterable[str] = ()) -> TableRows:
        """Return no rows of these columns; `flags` are the bool ones."""
        none = np.empty(0, np.int64)
        return cls(dict.fromkeys(names, none) | dict.fromkeys(flags, none.astype(bool)))
