"""Encodes many protobuf messages at once: each field is a column of byte strings, one per message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class ByteColumn:
    """One byte string per row: the first `length` bytes of each row of `content`, shape (rows, longest)."""

    content: Bytes
    length: Ints

    @classmethod
    def constant(cls, content: bytes, rows: int) -> ByteColumn:
        """Return the same string in every row."""
        row = np.frombuffer(content, np.uint8)
        return cls(np.broadcast_to(row, (rows, len(row))), np.full(rows, len(row), np.int64))

    @classmethod
    def chosen(cls, codes: Ints, strings: Sequence[bytes]) -> ByteColumn:
        """Return `strings[code]` for each row."""
        length = np.array([len(string) for string in strings], np.int64)
        table = np.zeros((len(strings), int(length.max(initial=0))), np.uint8)
        for row, string in zip(table, strings, strict=True):
            row[: len(string)] = np.frombuffer(string, np.uint8)
        return cls(table[codes], length[codes])

    @classmethod
    def varints(cls, values: Ints) -> ByteColumn:
        """Return non-negative numbers as protobuf varints: seven bits per byte, lowest first."""
        width = max(-(-int(values.max(initial=0)).bit_length() // 7), 1)
        length = np.ones(len(values), np.int64)
        content = np.empty((len(values), width), np.uint8)
        for place in range(width):
            rest = values >> (7 * place)
            more = rest > 0x7F
            content[:, place] = (rest & 0x7F) | (more << 7)
            length += more
        return cls(content, length)

    @classmethod
    def fixed64(cls, values: Ints) -> ByteColumn:
        """Return numbers as eight bytes, lowest first."""
        content = np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(len(values), 8)
        return cls(content, np.full(len(values), 8, np.int64))

    def only(self, present: Flags) -> ByteColumn:
        """Return the column with an empty string in the rows that are not `present`."""
        return ByteColumn(self.content, np.where(present, self.length, 0))


def lengths(columns: Sequence[ByteColumn]) -> Ints:
    """Return the total length of each row's strings."""
    return np.sum([column.length for column in columns], axis=0)


def joined(columns: Sequence[ByteColumn]) -> bytes:
    """Return all strings one after another: the first row's, column by column, then the second row's."""
    content = np.concatenate([column.content for column in columns], axis=1)
    keep = np.ones(content.shape, bool)
    past = 0
    for column in columns:
        width = column.content.shape[1]
        if len(column.length) and column.length.min() < width:
            np.less(np.arange(width), column.length[:, None], out=keep[:, past : past + width])
        past += width
    return content[keep].tobytes()
