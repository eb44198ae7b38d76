"""A table read in batches, in the order of time, up to a requested time; long tables are prefetched by a thread."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import numpy as np

from taxbreak_nsys.arrays.background import Prefetcher
from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Ints, among
from taxbreak_nsys.model.assumptions import WrongAssumption
from taxbreak_nsys.read.conversion import Convert
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.table_rows import TableRows

AHEAD_FROM = 200_000
"""Tables of at least this many rows are read by their own thread over their own connection."""
_READY = 6
"""Batches that a reading thread keeps in its queue."""


class Stream:
    """The rows of one query that were read and not yet dropped, in the order in which they were read.

    Every row that starts before `horizon` (ns) has been read, provided that the table is sorted by time. If a row
    proves that it is not, `pull` raises WrongAssumption, which names the table.
    """

    def __init__(self, table: str, batches: Generator[TableRows], *, ahead: bool) -> None:
        """Wrap the batches of a table; with `ahead` another thread reads them and needs its own connection."""
        self.horizon = NEVER
        self._table = table
        self._parts: list[TableRows] = []
        self._dropped = NEVER
        self._batches: Generator[TableRows] | Prefetcher[TableRows] = Prefetcher(batches, _READY) if ahead else batches
        self._first = True

    def pull(self) -> None:
        """Read the next batch, if there is one."""
        batch = next(self._batches, None)
        if batch is None:
            self.horizon = FOREVER
            return
        if len(batch):
            start = batch["start"]
            if int(start.min()) < self._dropped:
                raise WrongAssumption(unsorted=self._table)
            self.horizon = max(self.horizon, int(start.max()))
        if len(batch) or self._first:
            self._parts.append(batch)
        self._first = False

    def until(self, moment: int) -> None:
        """Read on until every row that starts before `moment` has been read."""
        while self.horizon < moment:
            self.pull()

    @property
    def rows(self) -> TableRows:
        """The rows that were read and not dropped."""
        if not self._parts:
            self.pull()
        if len(self._parts) > 1:
            self._parts = [TableRows.joined(self._parts)]
        return self._parts[0]

    def before(self, moment: int) -> tuple[TableRows, Ints | slice]:
        """Return the rows that start before a moment (ns), and their indices among `rows`."""
        rows = self.rows
        which = rows["start"] < moment
        count = int(np.count_nonzero(which))
        place = slice(count) if which[:count].all() else np.flatnonzero(which)
        return rows.take(place), place

    @property
    def held(self) -> int:
        """The number of rows read and not dropped; unlike `len(rows)`, joins no batches."""
        return sum(map(len, self._parts))

    def drop(self, moment: int, keep: Flags) -> None:
        """Keep only the rows flagged in `keep`; a later batch with a start before `moment` raises WrongAssumption."""
        self._dropped = moment
        self._parts = [self.rows.take(among(keep))]

    def close(self) -> None:
        """Stop reading; ends the reading thread, if there is one."""
        self._batches.close()


def converted(
    database: Database, subject: str, convert: Convert, batch: int, *, in_order: bool = False, **parameters: str
) -> Generator[TableRows]:
    """Yield the converted rows of `sql/<subject>.sql`, `batch` at a time; with `in_order`, sorted by time."""
    with closing(database.stream(subject, batch, in_order=in_order, **parameters)) as tables:
        for table in tables:
            yield convert(table)


def overlapping(rows: TableRows, moment: int) -> Flags:
    """Flag the rows that end after a moment (ns) or start at or after it."""
    start: Ints = rows["start"]
    return np.asarray((rows["end"] > moment) | (start >= moment))
