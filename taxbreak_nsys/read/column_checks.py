"""Checks the columns of a query's result: integer types, times within one capture, valid text.

SQLite does not enforce a column's declared type: any row may hold any type. A value that could only be guessed is
refused. A row that can be left out is left out and counted, and a warning reports the count.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGER_SUFFIXES = ("_ns", "_id", "_row")
_INTEGER_NAMES = frozenset(
    {"thread", "process", "device", "device_global", "context", "stream", "bytes", "node_blocks"}
)
_KEYS = frozenset({"thread", "process"})
_EXACT_REAL = 2**53
_FARTHEST_NS = 2**62
_LONGEST_CAPTURE_NS = 2**53
"""104 days; differences and sums over 512 threads then fit into 64 bits."""
_LARGEST_SUM_NS = 2**61
LONGEST_TEXT = 8192
"""Bytes kept per text; C++ kernel names reach a few thousand."""


@dataclass
class Cleaning:
    """Checks the columns of one report and keeps count; shared by all connections to the report.

    `left_out` counts rows by (query, reason); `low` and `high` are the earliest and latest time so far, ns.
    """

    file: str
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    low: int | None = None
    high: int | None = None
    _durations: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def table(self, table: pa.Table, subject: str) -> pa.Table:
        """Return a query's result with its columns checked and cleaned; raises TaxbreakError for a damaged column."""
        for index, name in enumerate(table.column_names):
            column = table.column(index)
            if name in _INTEGER_NAMES or name.endswith(_INTEGER_SUFFIXES):
                column = self._as_integers(column, name, subject)
            elif _is_text(column.type):
                column = readable(column)
            if column is not table.column(index):
                table = table.set_column(index, name, column)
        return self._in_time(table, subject)

    def begin_again(self) -> None:
        """Reset the counts before the columns are read again from the start."""
        with self._lock:
            self.left_out.clear()
            self._durations.clear()

    def integer(self, text: str, name: str, subject: str) -> int:
        """Return the 64-bit integer that a text encodes; raises TaxbreakError where it encodes none."""
        with suppress(ValueError):
            if -(2**63) <= (number := int(text)) < 2**63:
                return number
        raise self._damaged(subject, f"text in '{name}', where integers are due")

    def _damaged(self, subject: str, what: str) -> TaxbreakError:
        where = subject.replace("_", " ")
        return TaxbreakError(f"{self.file}: the {where} hold {what}; the file is damaged, export the report again")

    def _as_integers(self, column: pa.ChunkedArray, name: str, subject: str) -> pa.ChunkedArray:
        """Return a column as int64; reals are accepted if they are exact integers. Raises TaxbreakError otherwise."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_null(column.type) or (not len(column) and not pa.types.is_integer(column.type)):
            return pa.chunked_array([pa.nulls(len(column), pa.int64())])
        if pa.types.is_boolean(column.type):
            return column.cast(pa.int64())
        if pa.types.is_floating(column.type):
            sound = pc.all(pc.less_equal(pc.abs(column), float(_EXACT_REAL))).as_py() is not False
            if not sound or pc.all(pc.equal(pc.trunc(column), column)).as_py() is False:
                raise self._damaged(subject, f"numbers in '{name}' that are no exact integers")
            return column.cast(pa.int64())
        if not pa.types.is_integer(column.type):
            raise self._damaged(subject, f"text in '{name}', where integers are due")
        return column

    def _in_time(self, table: pa.Table, subject: str) -> pa.Table:
        """Leave out rows with a null thread or time and rows that end before they start; refuse impossible times."""
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
                self._check_times(low_high["min"], low_high["max"], subject)
        if len(times) == 2 and len(table):
            start, end = (numbers(table[name]) for name in times)
            duration = end - start
            if duration.min() < 0:
                rising = duration >= 0
                self._leave_out(subject, "that end before they start", int(np.sum(~rising)))
                table = table.filter(pa.array(rising))
                duration = duration[rising]
            if self._spent(subject, float(np.sum(duration, dtype=np.float64))) >= _LARGEST_SUM_NS:
                raise self._damaged(subject, "durations that add up to decades")
        return table

    def _leave_out(self, subject: str, why: str, rows: int) -> None:
        with self._lock:
            self.left_out[subject, why] += rows

    def _spent(self, subject: str, duration: float) -> float:
        """Add to the total duration of one query's rows and return the total so far, ns."""
        with self._lock:
            self._durations[subject] = self._durations.get(subject, 0.0) + duration
            return self._durations[subject]

    def _check_times(self, low: int, high: int, subject: str) -> None:
        """Raise TaxbreakError where a query's times lie outside one capture, given the times seen so far."""
        if low <= -_FARTHEST_NS or high >= _FARTHEST_NS:
            raise self._damaged(subject, "times that are no nanoseconds of a capture")
        with self._lock:
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            span = self.high - self.low
        if span > _LONGEST_CAPTURE_NS:
            days = span // (86_400 * 10**9)
            raise self._damaged(subject, f"times that lie {days} days from others of the report")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as valid UTF-8 of bounded length; shortened texts end in a digest, so they stay distinct."""
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
    """Return any bytes as text of bounded length: bad UTF-8 is replaced, a cut text ends in size and digest."""
    if len(value) <= LONGEST_TEXT:
        return value.decode("utf-8", "replace")
    import hashlib

    digest = hashlib.sha256(value).hexdigest()[:12]
    return f"{value[:LONGEST_TEXT].decode('utf-8', 'replace')}… ({len(value)} bytes, {digest})"
