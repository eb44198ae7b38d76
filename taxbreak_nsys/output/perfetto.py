"""Writes a result as a Perfetto trace: compressed protobuf packets for ui.perfetto.dev and trace_processor."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.trace_events import WINDOW_NS, Slices, TraceSamples, Track, walk

if TYPE_CHECKING:
    from taxbreak_nsys.output.trace_spool import TraceSpool
    from taxbreak_nsys.result import Result

_SEQUENCE = 1
_CHUNK = 20_000
"""The number of packets that are compressed together."""
_BEGIN, _END, _COUNTER = 1, 2, 4
_EXPLICIT_ORDER = 3
_STATE_CLEARED, _NEEDS_STATE = 1, 2
_LEAVES, _ARRIVES = b"\xf9\x02", b"\x81\x03"
"""The tags of flow_ids (47) and terminating_flow_ids (48) of TrackEvent, both fixed64."""
_SMALL_NUMBERS = 1 << 12
"""For numbers below this, `_SMALL` holds the protobuf bytes."""


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
        self.put_bytes(packet.SerializeToString())

    def put_event(self, time: int, event: bytes) -> None:
        """Write a packet with an encoded track event: most packets are of this kind, and protobuf objects are slow."""
        # fields of TracePacket in their order: timestamp (8), sequence (10), track_event (11), flags (13)
        body = b"\x40" + _varint(time) + self.sequence + b"\x5a" + _varint(len(event)) + event + self.flags
        self.put_bytes(body)

    def put_bytes(self, packet: bytes) -> None:
        """Add a packet to the chunk."""
        if len(self.chunk) >= _CHUNK:
            self.flush()
        self.chunk.append(b"\x0a" + _varint(len(packet)) + packet)

    def flush(self) -> None:
        """Write the packets so far as one compressed packet."""
        if self.chunk:
            outer = self.proto.Trace()
            outer.packet.add().compressed_packets = zlib.compress(b"".join(self.chunk))
            self.file.write(outer.SerializeToString())
            self.chunk = []

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

    def codes(self, field: str, codes: np.ndarray, names: Sequence[str]) -> list[int]:
        """Intern the names that a column uses; return the interned id of each row, 0 for code -1."""
        known = self.interned.setdefault(field, {})
        number = np.zeros(len(names) + 1, np.int64)
        fresh = []
        for code in np.unique(codes[codes >= 0]).tolist():
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
        ids: list[int] = number[codes].tolist()
        return ids

    def slices(self, slices: Slices) -> None:
        """Write a begin and an end event per slice."""
        names = self.codes("event_names", slices.name, slices.names)
        category = self.codes("event_categories", np.zeros(1, np.int64), (slices.category,))[0]
        keys = (*slices.texts, *slices.numbers)
        key_ids = self.codes("debug_annotation_names", np.arange(len(keys)), keys)
        texts = [
            (key, self.codes("debug_annotation_string_values", codes, strings))
            for key, (codes, strings) in zip(key_ids, slices.texts.values(), strict=False)
        ]
        numbers = [
            (key, column.tolist())
            for key, column in zip(key_ids[len(slices.texts) :], slices.numbers.values(), strict=True)
        ]
        leaves = slices.leaves.tolist() if slices.leaves is not None else None
        arrives = slices.arrives.tolist() if slices.arrives is not None else None
        start, end = (slices.start + self.shift).tolist(), (slices.end + self.shift).tolist()
        event = self.proto.TrackEvent
        category_bytes = event(category_iids=[category]).SerializeToString()
        beginnings = {
            iid: event(type=_BEGIN, name_iid=iid, track_uuid=slices.track).SerializeToString() for iid in set(names)
        }
        ending = event(type=_END, track_uuid=slices.track).SerializeToString()
        annotations = {
            (key, value): event(debug_annotations=[{"name_iid": key, "string_value_iid": value}]).SerializeToString()
            for key, values in texts
            for value in set(values)
        }
        for row, (begin, stop) in enumerate(zip(start, end, strict=True)):
            # fields of TrackEvent in their order: categories, annotations, type to track_uuid, arrows
            parts = [category_bytes]
            parts += [annotations[key, values[row]] for key, values in texts if values[row]]
            parts += [_integer_annotation(key, values[row]) for key, values in numbers if values[row] >= 0]
            parts.append(beginnings[names[row]])
            if leaves is not None and leaves[row]:
                parts.append(_LEAVES + leaves[row].to_bytes(8, "little"))
            if arrives is not None and arrives[row]:
                parts.append(_ARRIVES + arrives[row].to_bytes(8, "little"))
            self.put_event(begin, b"".join(parts))
            self.put_event(stop, ending)

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


def _varint(number: int) -> bytes:
    """Return a non-negative number as a protobuf varint: seven bits per byte, lowest first."""
    if number < _SMALL_NUMBERS:
        return _SMALL[number]
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _small_varint(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


_SMALL = [_small_varint(number) for number in range(_SMALL_NUMBERS)]


def _integer_annotation(key: int, value: int) -> bytes:
    """Return a debug annotation (field 4 of TrackEvent) with its name (1) and a non-negative integer (4)."""
    body = b"\x08" + _varint(key) + b"\x20" + _varint(value)
    return b"\x22" + _varint(len(body)) + body
