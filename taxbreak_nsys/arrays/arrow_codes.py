"""Conversion between Arrow columns and numpy arrays, and codes for distinct values (by hashing: sorting is slower).

pyarrow's own conversions import pandas, which takes longer than the analysis of a small report. The functions here
share the column's memory where they can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys.arrays.intervals import Ints


def numbers(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Return a column of integers or booleans as int64, null as -1."""
    if column.null_count:
        column = pc.fill_null(column, -1)
    if column.type != pa.int64():
        column = pc.cast(column, pa.int64())
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [
        np.frombuffer(chunk.buffers()[1], np.int64, len(chunk), 8 * chunk.offset) for chunk in chunks if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def integers(values: Ints) -> pa.Array:
    """Return int64 values as an Arrow array."""
    contiguous = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(contiguous), [None, pa.py_buffer(contiguous)])


def string_array(values: Sequence[str]) -> pa.Array:
    """Return strings as an Arrow array of type large_string; unpaired surrogates become `?`."""
    encoded = [value.encode("utf-8", "replace") for value in values]
    ends = np.r_[0, np.cumsum([len(item) for item in encoded], dtype=np.int64)]
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.large_string(), len(encoded), [None, pa.py_buffer(ends.astype(np.int64)), data])


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings; Arrow types the column of an empty query result as null."""
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column if is_text else pc.cast(column, pa.string())


def of_texts(column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """Return (codes, distinct strings) of a string column."""
    if not len(column):
        return np.empty(0, np.int64), ()
    encoded = pc.dictionary_encode(texts(column).combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return numbers(encoded.indices), tuple(encoded.dictionary.to_pylist())


def distinct_values(values: Ints) -> tuple[Ints, Ints]:
    """Return (code of each value, distinct values in order of appearance)."""
    encoded = pc.dictionary_encode(integers(values))
    return numbers(encoded.indices), numbers(encoded.dictionary)


def row_codes(*columns: Ints) -> tuple[Ints, Ints]:
    """Return (code of each row, index of one row of each code); equal rows of the columns have one code."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if not len(column) or column.min() == column.max():
            continue
        inner, values = distinct_values(column)
        code, _ = distinct_values(code * max(len(values), 1) + inner)
    sample = np.zeros(int(code.max()) + 1 if len(code) else 0, np.int64)
    sample[code] = np.arange(len(code))
    return code, sample
