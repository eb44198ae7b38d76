"""Columns of byte strings equal what protobuf writes message by message."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys.output.byte_columns import ByteColumn, joined, lengths

COUNTS = st.integers(0, 2**63 - 1)


@given(values=st.lists(COUNTS, max_size=20))
def test_varints_are_protobufs(values: list[int]) -> None:
    proto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    column = ByteColumn.varints(np.array(values, np.int64))
    # A packet with nothing but its timestamp: the tag of field 8, then the number.
    packets = [proto.TracePacket(timestamp=value).SerializeToString()[1:] for value in values]
    assert joined([column]) == b"".join(packets)
    assert column.length.tolist() == [len(packet) for packet in packets]


@given(rows=st.lists(st.tuples(COUNTS, st.booleans(), st.integers(0, 2)), max_size=20))
def test_rows_are_joined_column_by_column(rows: list[tuple[int, bool, int]]) -> None:
    strings = [b"", b"a", b"longer"]
    values, present, codes = ([row[k] for row in rows] for k in range(3))
    columns = [
        ByteColumn.constant(b"<", len(rows)),
        ByteColumn.fixed64(np.array(values, np.int64)).only(np.array(present, bool)),
        ByteColumn.chosen(np.array(codes, np.int64), strings),
    ]
    expected = [b"<" + (value.to_bytes(8, "little") if there else b"") + strings[code] for value, there, code in rows]
    assert joined(columns) == b"".join(expected)
    assert lengths(columns).tolist() == [len(row) for row in expected]
