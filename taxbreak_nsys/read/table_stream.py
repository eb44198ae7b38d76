"""A table as it is read: batches in the file's order, as far as a moment asks for, ahead of their use if need be."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import numpy as np

from taxbreak_nsys.arrays.background import Prefetcher
from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Ints, among
from taxbreak_nsys.errors import UnorderedError
from taxbreak_nsys.read.conversion import Convert
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.table_rows import TableRows

AHEAD_FROM = 200_000
"""Tables of so many rows are read on a connection and in a thread of their own."""
_READY = 6
"""Batches that a reading thread keeps ready."""


class Stream:
    """One query's rows: those that were read and not yet dropped, sorted as the file has them.

    All rows that start before `horizon` (ns) have been read, as long as the table is in the order of time; `drop`
    raises UnorderedError as soon as it proves not to be.
    """

    def __init__(self, batches: Generator[TableRows], *, ahead: bool) -> None:
        """Begin to read; `ahead` reads in a thread of its own, on a connection that nothing else may use then."""
        self.horizon = NEVER
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
                raise UnorderedError
            self.horizon = max(self.horizon, int(start[-1]), int(start.max()))
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
        """Return the rows that are held and start before a moment, and their places among `rows`."""
        rows = self.rows
        which = rows["start"] < moment
        count = int(np.count_nonzero(which))
        place = slice(count) if which[:count].all() else np.flatnonzero(which)
        return rows.take(place), place

    @property
    def held(self) -> int:
        """How many rows that is."""
        return sum(map(len, self._parts))

    def drop(self, moment: int, keep: Flags) -> None:
        """Drop the rows that are not to be kept; whatever is read later must not start before `moment`."""
        self._dropped = moment
        self._parts = [self.rows.take(among(keep))]

    def close(self) -> None:
        """Stop reading."""
        self._batches.close()


def converted(
    database: Database, subject: str, convert: Convert, batch: int, **parameters: str
) -> Generator[TableRows]:
    """Yield what `sql/<subject>.sql` selects as rows, `batch` of them at a time."""
    with closing(database.stream(subject, batch, **parameters)) as tables:
        for table in tables:
            yield convert(table)


def overlapping(rows: TableRows, moment: int) -> Flags:
    """Tell which rows have not ended by a moment, or begin there."""
    start: Ints = rows["start"]
    return np.asarray((rows["end"] > moment) | (start >= moment))
