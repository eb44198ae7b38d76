"""All host intervals of a report as an Arrow table in temporary files, for `-r taxbreak_trace`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from taxbreak_nsys.arrays.arrow_codes import integers
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.arrays.mapped_files import mapped_table
from taxbreak_nsys.measure.step_numbers import step_numbers
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import pid, runs, tid
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.totals.warning_facts import Piece

SCHEMA = pa.schema(
    [
        ("Start (ns)", pa.int64()),
        ("Duration (ns)", pa.int64()),
        ("State", pa.string()),
        ("Phase", pa.string()),
        ("Instance", pa.int64()),
        ("PID", pa.int64()),
        ("TID", pa.int64()),
        ("Exposed (ns)", pa.int64()),
        ("In OS (ns)", pa.int64()),
    ]
)


class IntervalListing:
    """Writes the host intervals of each thread to one file per thread, piece by piece, in constant memory."""

    def __init__(self, instances: Instances) -> None:
        """Create a temporary folder, which is deleted with this object."""
        self._folder = tempfile.TemporaryDirectory(prefix="taxbreak-nsys-")
        self._labels, self._number = instances.labels, step_numbers(instances)
        self._writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}

    def add(self, piece: Piece) -> None:
        """Write the intervals of a piece; every instance is in one piece, so each interval is written once."""
        columns, intervals = piece.columns, piece.columns.intervals
        for low, high in runs(intervals.thread):
            part = slice(low, high)
            instance = intervals.instance[part]
            batch = pa.record_batch(
                [
                    integers(intervals.start[part]),
                    integers(intervals.duration[part]),
                    _texts(intervals.state[part], STATES),
                    _texts(columns.instances.label[instance], self._labels),
                    integers(self._number[piece.index[instance]]),
                    integers(np.full(high - low, pid(int(intervals.thread[low])))),
                    integers(np.full(high - low, tid(int(intervals.thread[low])))),
                    _measured(intervals.exposed[part], columns.steps.unmeasured[instance]),
                    integers(intervals.in_os[part]),
                ],
                schema=SCHEMA,
            )
            self._writer(int(intervals.thread[low])).write_batch(batch)

    def _writer(self, thread: int) -> pa.ipc.RecordBatchFileWriter:
        if thread not in self._writers:
            self._writers[thread] = pa.ipc.new_file(str(self._path(thread)), SCHEMA)
        return self._writers[thread]

    def _path(self, thread: int) -> Path:
        return Path(self._folder.name) / f"{thread}.arrow"

    def table(self) -> pa.Table:
        """Return the intervals (columns of SCHEMA) by thread and start; the table maps the files into memory."""
        parts = []
        for thread, writer in sorted(self._writers.items()):
            writer.close()
            parts.append(mapped_table(self._path(thread)))
        self._folder.cleanup()  # deletes the files; their mapped pages stay readable
        return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def _texts(codes: Ints, names: tuple[str, ...]) -> pa.Array:
    # Plain strings: Arrow's CSV writer does not accept dictionary columns.
    return pa.array(names, pa.string()).take(integers(codes))


def _measured(exposed: Ints, unmeasured: Flags) -> pa.Array:
    """Return the exposed time of each interval, ns; null in instances without measured device time."""
    return pa.array(exposed, mask=unmeasured) if unmeasured.any() else integers(exposed)
