"""Writes a result as a Perfetto trace: compressed protobuf packets for ui.perfetto.dev and trace_processor."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.byte_columns import ByteColumn, joined, lengths
from taxbreak_nsys.output.trace_events import WINDOW_NS, Slices, TraceSamples, Track, walk

if TYPE_CHECKING:
    from taxbreak_nsys.output.trace_spool import TraceSpool
    from taxbreak_nsys.result import Result

_SEQUENCE = 1
_CHUNK = 1 << 20
"""From this many bytes on, the packets so far are compressed together."""
_COMPRESSION = 2
"""The level of zlib: level 6 takes three times as long for a file that is a sixth smaller."""
_BEGIN, _END, _COUNTER = 1, 2, 4
_EXPLICIT_ORDER = 3
_STATE_CLEARED, _NEEDS_STATE = 1, 2
_LEAVES, _ARRIVES = b"\xf9\x02", b"\x81\x03"
"""The tags of flow_ids (47) and terminating_flow_ids (48) of TrackEvent, both fixed64."""


def write_perfetto(result: Result, spool: TraceSpool, path: Path, window: int = WINDOW_NS) -> None:
    """Write the trace; a counter's value is the average over the preceding `window` (ns).

    Times are the report's, shifted only if the report has negative times, which a trace cannot represent. Raises
    TaxbreakError if the package `perfetto` is not installed.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto
    except ImportError as error:
        raise TaxbreakError(
            f"a Perfetto trace needs {error.name}; install it with: pip install 'taxbreak-nsys[trace]'"
        ) from error
    with path.open("wb") as file:
        writer = _Writer(file, proto, _shift(result, spool))
        for event in walk(result, spool, window):
            if isinstance(event, Track):
                writer.track(event)
            elif isinstance(event, Slices):
                writer.slices(event)
            else:
                writer.samples(event)
        writer.flush()


def _shift(result: Result, spool: TraceSpool) -> int:
    return max(-int(result.instances.start.min()), -spool.low if spool.low is not None else 0, 0)


class _Writer:
    """Encodes events as packets of one sequence with interned names, and writes them in compressed chunks."""

    def __init__(self, file: IO[bytes], proto: Any, shift: int) -> None:
        self.file, self.proto, self.shift = file, proto, shift
        self.chunk: list[bytes] = []
        self.held = 0
        packet = proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        self.sequence = packet.SerializeToString()
        self.flags = proto.TracePacket(sequence_flags=_NEEDS_STATE).SerializeToString()
        self.interned: dict[str, dict[str, int]] = {}
        self.first = True
        self.rank = 0

    def put(self, packet: Any) -> None:
        """Write a packet of the sequence; the first packet clears the sequence's state."""
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.sequence_flags = _STATE_CLEARED | _NEEDS_STATE if self.first else _NEEDS_STATE
        self.first = False
        outer = self.proto.Trace()
        outer.packet.append(packet)
        self.put_bytes(outer.SerializeToString())

    def event_packets(self, times: Ints, events: Sequence[ByteColumn]) -> list[ByteColumn]:
        """Return packets with encoded track events, one per row: protobuf objects would be slow for so many."""
        rows = len(times)
        # fields of TracePacket in their order: timestamp (8), sequence (10), track_event (11), flags (13)
        body = [
            ByteColumn.constant(b"\x40", rows),
            ByteColumn.varints(times),
            ByteColumn.constant(self.sequence + b"\x5a", rows),
            ByteColumn.varints(lengths(events)),
            *events,
            ByteColumn.constant(self.flags, rows),
        ]
        return [ByteColumn.constant(b"\x0a", rows), ByteColumn.varints(lengths(body)), *body]

    def put_bytes(self, packets: bytes) -> None:
        """Add encoded packets to the chunk."""
        self.chunk.append(packets)
        self.held += len(packets)
        if self.held >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write the packets so far as one compressed packet."""
        if self.chunk:
            outer = self.proto.Trace()
            outer.packet.add().compressed_packets = zlib.compress(b"".join(self.chunk), _COMPRESSION)
            self.file.write(outer.SerializeToString())
            self.chunk, self.held = [], 0

    def track(self, track: Track) -> None:
        """Write a track descriptor; sibling tracks keep the order of these calls."""
        packet = self.proto.TracePacket()
        descriptor = packet.track_descriptor
        descriptor.uuid = track.key
        self.rank += 1
        descriptor.sibling_order_rank = self.rank
        descriptor.child_ordering = _EXPLICIT_ORDER
        if track.parent is None:
            descriptor.process.pid = track.pid
            descriptor.process.process_name = track.name
        else:
            descriptor.parent_uuid = track.parent
            descriptor.name = _utf8(track.name)
            if track.unit is not None:
                descriptor.counter.unit_name = track.unit
        self.put(packet)

    def codes(self, field: str, codes: Ints, names: Sequence[str]) -> Ints:
        """Intern the names that a column uses; return the interned id of each row, 0 for code -1."""
        known = self.interned.setdefault(field, {})
        number = np.zeros(len(names) + 1, np.int64)
        fresh = []
        for code in np.flatnonzero(np.bincount(codes[codes >= 0])).tolist():
            text = _utf8(names[code])
            if text not in known:
                known[text] = len(known) + 1
                fresh.append((known[text], text))
            number[code] = known[text]
        if fresh:
            packet = self.proto.TracePacket()
            entries = getattr(packet.interned_data, field)
            for iid, text in fresh:
                entry = entries.add()
                entry.iid = iid
                if field == "debug_annotation_string_values":
                    entry.str = text.encode()
                else:
                    entry.name = text
            self.put(packet)
        return number[codes]

    def slices(self, slices: Slices) -> None:
        """Write a begin and an end event per slice."""
        rows = len(slices.start)
        if not rows:
            return
        event = self.proto.TrackEvent
        names = self.codes("event_names", slices.name, slices.names)
        category = int(self.codes("event_categories", np.zeros(1, np.int64), (slices.category,))[0])
        keys = (*slices.texts, *slices.numbers)
        key_ids = self.codes("debug_annotation_names", np.arange(len(keys)), keys).tolist()
        # fields of TrackEvent in their order: categories, annotations, type to track_uuid, arrows
        beginning = [ByteColumn.constant(event(category_iids=[category]).SerializeToString(), rows)]
        for key, (codes, strings) in zip(key_ids, slices.texts.values(), strict=False):
            values = self.codes("debug_annotation_string_values", codes, strings)
            beginning.append(_encoded(values, partial(_text_annotation, event, key)))
        for key, column in zip(key_ids[len(slices.texts) :], slices.numbers.values(), strict=True):
            beginning += _integer_annotations(key, column)
        beginning.append(
            _encoded(names, lambda iid: event(type=_BEGIN, name_iid=iid, track_uuid=slices.track).SerializeToString())
        )
        for tag, arrows in ((_LEAVES, slices.leaves), (_ARRIVES, slices.arrives)):
            if arrows is not None:
                beginning += [
                    ByteColumn.constant(tag, rows).only(arrows != 0), ByteColumn.fixed64(arrows).only(arrows != 0)
                ]  # fmt: skip
        ending = [ByteColumn.constant(event(type=_END, track_uuid=slices.track).SerializeToString(), rows)]
        begins = self.event_packets(slices.start + self.shift, beginning)
        self.put_bytes(joined([*begins, *self.event_packets(slices.end + self.shift, ending)]))

    def samples(self, samples: TraceSamples) -> None:
        """Write the values of a counter."""
        for time, value in zip((samples.time + self.shift).tolist(), samples.value.tolist(), strict=True):
            packet = self.proto.TracePacket(timestamp=time)
            packet.track_event.type = _COUNTER
            packet.track_event.track_uuid = samples.track
            packet.track_event.double_counter_value = value
            self.put(packet)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _encoded(values: Ints, encode: Callable[[int], bytes]) -> ByteColumn:
    """Return the encoding of each value; each distinct value is encoded once."""
    occurs = np.bincount(values) > 0
    place = np.cumsum(occurs) - 1
    return ByteColumn.chosen(place[values], [encode(value) for value in np.flatnonzero(occurs).tolist()])


def _text_annotation(event: Any, key: int, value: int) -> bytes:
    """Return a debug annotation with its name and an interned text; nothing for text 0."""
    annotation = event(debug_annotations=[{"name_iid": key, "string_value_iid": value}])
    return bytes(annotation.SerializeToString()) if value else b""


def _integer_annotations(key: int, values: Ints) -> list[ByteColumn]:
    """Return debug annotations (field 4 of TrackEvent) with their name (1) and an integer (4); none below 0."""
    rows, present = len(values), values >= 0
    name = ByteColumn.constant(b"\x08", rows), ByteColumn.varints(np.full(rows, key))
    body = [*name, ByteColumn.constant(b"\x20", rows), ByteColumn.varints(np.maximum(values, 0))]
    columns = [ByteColumn.constant(b"\x22", rows), ByteColumn.varints(lengths(body)), *body]
    return [column.only(present) for column in columns]
