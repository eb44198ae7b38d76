"""What the columns of a query must be: integers where integers are due, times of one capture, text that is text.

A column's declared type binds SQLite to nothing: any row may hold any type. What cannot be read without
guessing is refused; what can be left out is counted, so that a warning can say so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = ("_ns", "_id", "_row")
_WHOLE_NAMES = frozenset({"thread", "process", "device", "device_global", "context", "stream", "bytes", "graph_node"})
_KEYS = frozenset({"thread", "process"})
_EXACT_REAL = 2**53
_FARTHEST_NS = 2**62
_LONGEST_CAPTURE_NS = 2**53
"""104 days: differences and sums over 512 threads then fit 64 bits."""
_LARGEST_SUM_NS = 2**61
LONGEST_TEXT = 8192
"""Bytes kept of a text; C++ kernel names reach a few thousand."""


@dataclass
class Cleaning:
    """What was met in one report's columns; shared by all its connections.

    `left_out` counts rows by (query, reason); `low` and `high` are the extreme times so far, ns.
    """

    file: str
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    low: int | None = None
    high: int | None = None
    _durations: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def table(self, table: pa.Table, subject: str) -> pa.Table:
        """Return a query's result with its columns checked; raises TaxbreakError where one is no use."""
        for index, name in enumerate(table.column_names):
            column = table.column(index)
            if name in _WHOLE_NAMES or name.endswith(_WHOLE):
                column = self._whole(column, name, subject)
            elif _is_text(column.type):
                column = readable(column)
            if column is not table.column(index):
                table = table.set_column(index, name, column)
        return self._in_time(table, subject)

    def begin_again(self) -> None:
        """Forget what was counted: the columns are read once more."""
        with self._lock:
            self.left_out.clear()
            self._durations.clear()

    def _refuse(self, subject: str, what: str) -> TaxbreakError:
        where = subject.replace("_", " ")
        return TaxbreakError(f"{self.file}: the {where} hold {what}; the file is damaged, export the report again")

    def _whole(self, column: pa.ChunkedArray, name: str, subject: str) -> pa.ChunkedArray:
        """Return a column as int64; integers that were stored as reals are taken where they are exact."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_null(column.type) or (not len(column) and not pa.types.is_integer(column.type)):
            return pa.chunked_array([pa.nulls(len(column), pa.int64())])
        if pa.types.is_boolean(column.type):
            return column.cast(pa.int64())
        if pa.types.is_floating(column.type):
            sound = pc.all(pc.less_equal(pc.abs(column), float(_EXACT_REAL))).as_py() is not False
            if not sound or pc.all(pc.equal(pc.trunc(column), column)).as_py() is False:
                raise self._refuse(subject, f"numbers in '{name}' that are no exact integers")
            return column.cast(pa.int64())
        if not pa.types.is_integer(column.type):
            raise self._refuse(subject, f"text in '{name}', where integers are due")
        return column

    def _in_time(self, table: pa.Table, subject: str) -> pa.Table:
        """Leave out rows without a thread or time and those that end before they start; bound the times."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from taxbreak_nsys.arrays.arrow_codes import numbers

        names = table.column_names
        for name in names:
            if (name.endswith("_ns") or name in _KEYS) and table[name].null_count:
                kept = table.filter(pc.is_valid(table[name]))
                self._leave_out(subject, "without a time or thread", len(table) - len(kept))
                table = kept
        times = [name for name in names if name in ("start_ns", "end_ns")]
        for name in times:
            low_high = pc.min_max(table[name]).as_py()
            if low_high["min"] is not None:
                self._bound(low_high["min"], low_high["max"], subject)
        if len(times) == 2 and len(table):
            start, end = (numbers(table[name]) for name in times)
            duration = end - start
            if duration.min() < 0:
                rising = duration >= 0
                self._leave_out(subject, "that end before they start", int(np.sum(~rising)))
                table = table.filter(pa.array(rising))
                duration = duration[rising]
            if self._spent(subject, float(np.sum(duration, dtype=np.float64))) >= _LARGEST_SUM_NS:
                raise self._refuse(subject, "durations that add up to decades")
        return table

    def _leave_out(self, subject: str, why: str, rows: int) -> None:
        with self._lock:
            self.left_out[subject, why] += rows

    def _spent(self, subject: str, duration: float) -> float:
        """Add to the durations of one query's rows and return their sum so far, ns."""
        with self._lock:
            self._durations[subject] = self._durations.get(subject, 0.0) + duration
            return self._durations[subject]

    def _bound(self, low: int, high: int, subject: str) -> None:
        if low <= -_FARTHEST_NS or high >= _FARTHEST_NS:
            raise self._refuse(subject, "times that are no nanoseconds of a capture")
        with self._lock:
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            span = self.high - self.low
        if span > _LONGEST_CAPTURE_NS:
            days = span // (86_400 * 10**9)
            raise self._refuse(subject, f"times that lie {days} days from others of the report")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as valid UTF-8 of bounded length; what is cut keeps a digest, so that names stay apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = pc.max(pc.binary_length(column)).as_py() or 0
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    if longest <= LONGEST_TEXT and not binary:
        try:
            column.validate(full=True)
            return column
        except pa.ArrowInvalid:
            pass
    encoded = pc.dictionary_encode(column.cast(pa.large_binary())).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else encoded
    texts = pa.array([decoded(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(encoded.indices)])


def decoded(value: bytes) -> str:
    """Return bytes as text of bounded length, whatever they are."""
    if len(value) <= LONGEST_TEXT:
        return value.decode("utf-8", "replace")
    import hashlib

    digest = hashlib.sha256(value).hexdigest()[:12]
    return f"{value[:LONGEST_TEXT].decode('utf-8', 'replace')}… ({len(value)} bytes, {digest})"
