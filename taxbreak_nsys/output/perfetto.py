"""A result as a Perfetto trace: protobuf packets, compressed, for ui.perfetto.dev and trace_processor."""

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
"""Packets that are compressed together."""
_BEGIN, _END, _COUNTER = 1, 2, 4
_EXPLICIT_ORDER = 3
_STATE_CLEARED, _NEEDS_STATE = 1, 2


def write_perfetto(result: Result, spool: TraceSpool, path: Path, window: int = WINDOW_NS) -> None:
    """Write the trace; the counters are averages over the `window` (ns) before each moment.

    Times are those of the report, moved only where the report has times before 0, which a trace cannot hold.
    Raises TaxbreakError where the package `perfetto` is not installed.
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
    """Spells events as packets of one sequence, names interned, and writes them in compressed chunks."""

    def __init__(self, file: IO[bytes], proto: Any, shift: int) -> None:
        self.file, self.proto, self.shift = file, proto, shift
        self.chunk = proto.Trace()
        self.interned: dict[str, dict[str, int]] = {}
        self.first = True
        self.rank = 0

    def packet(self) -> Any:
        """Return a new packet of the sequence; the first one begins its state."""
        if len(self.chunk.packet) >= _CHUNK:
            self.flush()
        packet = self.chunk.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.sequence_flags = _STATE_CLEARED | _NEEDS_STATE if self.first else _NEEDS_STATE
        self.first = False
        return packet

    def flush(self) -> None:
        """Write the packets so far as one compressed packet."""
        if self.chunk.packet:
            outer = self.proto.Trace()
            outer.packet.add().compressed_packets = zlib.compress(self.chunk.SerializeToString())
            self.file.write(outer.SerializeToString())
            self.chunk = self.proto.Trace()

    def track(self, track: Track) -> None:
        """Describe a track; siblings stay in the order in which they come."""
        descriptor = self.packet().track_descriptor
        descriptor.uuid = track.key
        self.rank += 1
        descriptor.sibling_order_rank = self.rank
        descriptor.child_ordering = _EXPLICIT_ORDER
        if track.parent is None:
            descriptor.process.pid = track.pid
            descriptor.process.process_name = track.name
            return
        descriptor.parent_uuid = track.parent
        descriptor.name = _utf8(track.name)
        if track.unit is not None:
            descriptor.counter.unit_name = track.unit

    def codes(self, field: str, codes: np.ndarray, names: Sequence[str]) -> list[int]:
        """Intern the names that a column uses; return the interned number of each row, 0 for none."""
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
            entries = getattr(self.packet().interned_data, field)
            for iid, text in fresh:
                entry = entries.add()
                entry.iid = iid
                if field == "debug_annotation_string_values":
                    entry.str = text.encode()
                else:
                    entry.name = text
        found: list[int] = number[codes].tolist()
        return found

    def slices(self, slices: Slices) -> None:
        """Write slices: a begin and an end each."""
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
        for row, (begin, stop) in enumerate(zip(start, end, strict=True)):
            packet = self.packet()
            packet.timestamp = begin
            event = packet.track_event
            event.type = _BEGIN
            event.track_uuid = slices.track
            event.name_iid = names[row]
            event.category_iids.append(category)
            for key, values in texts:
                if values[row]:
                    event.debug_annotations.add(name_iid=key, string_value_iid=values[row])
            for key, values in numbers:
                if values[row] >= 0:
                    event.debug_annotations.add(name_iid=key, int_value=values[row])
            if leaves is not None and leaves[row]:
                event.flow_ids.append(leaves[row])
            if arrives is not None and arrives[row]:
                event.terminating_flow_ids.append(arrives[row])
            packet = self.packet()
            packet.timestamp = stop
            packet.track_event.type = _END
            packet.track_event.track_uuid = slices.track

    def samples(self, samples: TraceSamples) -> None:
        """Write the values of a counter."""
        for time, value in zip((samples.time + self.shift).tolist(), samples.value.tolist(), strict=True):
            packet = self.packet()
            packet.timestamp = time
            event = packet.track_event
            event.type = _COUNTER
            event.track_uuid = samples.track
            event.double_counter_value = value


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
