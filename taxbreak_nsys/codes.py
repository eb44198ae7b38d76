"""Codes for values: long columns are told apart by hashing, not by sorting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxbreak_nsys.intervals import Ints


def distinct(values: Ints) -> tuple[Ints, Ints]:
    """Return (code of each value, distinct values in order of appearance)."""
    encoded = pc.dictionary_encode(pa.array(values))
    return np.asarray(encoded.indices.to_numpy(), np.int64), np.asarray(encoded.dictionary.to_numpy(), np.int64)


def row_codes(*columns: Ints) -> tuple[Ints, Ints]:
    """Return a code for each distinct row of some columns, and the index of one row of each code."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        inner, values = distinct(column)
        code, _ = distinct(code * max(len(values), 1) + inner)
    sample = np.zeros(int(code.max()) + 1 if len(code) else 0, np.int64)
    sample[code] = np.arange(len(code))
    return code, sample
