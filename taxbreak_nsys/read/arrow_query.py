"""A query over a table in Arrow batches, and what such queries are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Columns = Mapping[str, pa.Array]
"""Columns of a batch of a table, by their names in the report."""
Parameters = Mapping[str, str]


@dataclass(frozen=True)
class ArrowQuery:
    """One SELECT over `table`: reads `columns`, keeps the rows that satisfy `where`, and returns `select` of them.

    Rows with a null in a `needed` column are left out, as in the SQL.
    """

    table: str
    columns: tuple[str, ...]
    needed: tuple[str, ...]
    select: Callable[[Columns, Parameters], Columns]
    where: Callable[[Columns, Parameters], pa.Array | None] = lambda columns, parameters: None

    def rows(self, arrays: Sequence[pa.Array], parameters: Parameters) -> pa.Table:
        """Return the query's result for a batch of its table; `arrays` are its `columns`."""
        columns = dict(zip(self.columns, arrays, strict=True))
        keep = self.where(columns, parameters)
        for name in self.needed:
            if columns[name].null_count:
                valid = pc.is_valid(columns[name])
                keep = valid if keep is None else pc.and_(keep, valid)
        if keep is not None and not pc.all(pc.fill_null(keep, False)).as_py():
            columns = {name: column.filter(keep) for name, column in columns.items()}
        return pa.table(dict(self.select(columns, parameters)))


def fill_null(column: pa.Array, value: int) -> pa.Array:
    """Return the column with a value in place of nulls."""
    return pc.fill_null(column, value) if column.null_count else column


def is_set(column: pa.Array) -> pa.Array:
    """Return 1 where a column is neither null nor 0, else 0."""
    return pc.cast(pc.not_equal(fill_null(column, 0), 0), pa.int64())


def constant(column: pa.Array, value: int) -> pa.Array:
    """Return a column as long as another, with one value in all rows."""
    return pa.array(np.full(len(column), value, np.int64))


def among(column: pa.Array, values: str) -> pa.Array:
    """Return whether each value is in a JSON list of integers."""
    return pc.is_in(column, value_set=pa.array(json.loads(values), pa.int64()))
