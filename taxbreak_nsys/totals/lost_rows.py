"""The phase instances for which the report lost CUDA rows (method section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints, percentile
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Trace, pid
from taxbreak_nsys.phases import ALL, Instances

IDLE = "idle"
"""The label of an engine's steps without requests: they need no CUDA call."""
_AT_LEAST = 2
"""This number of instances after the last CUDA row is a loss, for every phase."""
_LIBRARY_RANGES = 3
"""This number of library ranges after the last CUDA row is a loss: a library calls CUDA."""
_MANY_SAMPLES = 5
"""With fewer samples in the driver outside API calls, the samples of an instance are ignored."""


class CudaSpans:
    """The first and the last moment of each process's CUDA rows (API calls and device operations), ns.

    By process id, `by_process` has (first start, last end), `device_end` the end of the last device operation, and
    `library_starts` the latest starts of library ranges.
    """

    def __init__(self) -> None:
        self.by_process: dict[int, tuple[int, int]] = {}
        self.device_end: dict[int, int] = {}
        self.library_starts: dict[int, Ints] = {}

    def add(self, trace: Trace) -> None:
        """Add a piece of the report."""
        for process, start, end in (
            (trace.api.thread & PROCESS_MASK, trace.api.start, trace.api.end),
            (trace.ops.process, trace.ops.start, trace.ops.end),
        ):
            alone = len(process) and process.min() == process.max()
            for process_id in process[:1].tolist() if alone else np.unique(process).tolist():
                in_process = slice(None) if alone else process == process_id
                first, last = int(start[in_process].min()), int(end[in_process].max())
                known = self.by_process.get(process_id, (first, last))
                self.by_process[process_id] = (min(first, known[0]), max(last, known[1]))
                if end is trace.ops.end:
                    self.device_end[process_id] = max(last, self.device_end.get(process_id, last))
        ranges = trace.ranges
        library = np.flatnonzero(ranges.is_library)
        process = ranges.thread[library] & PROCESS_MASK
        for process_id in np.unique(process).tolist():
            starts = np.r_[
                self.library_starts.get(process_id, library[:0]), ranges.start[library[process == process_id]]
            ]
            self.library_starts[process_id] = np.sort(starts)[-_LIBRARY_RANGES:]

    def libraries_go_on(self, process: int, last: int) -> bool:
        """Return whether libraries marked several ranges of a process after its last CUDA row."""
        return bool(np.sum(self.library_starts.get(process, np.empty(0, np.int64)) > last) >= _LIBRARY_RANGES)


@dataclass(frozen=True)
class LostRows:
    """The instances of which the report lost rows.

    `dropped` flags lost instances of a phase that has complete instances as well: the phase is measured without them.
    By (label code, thread), `counts` is the number of lost instances, and `reasons` the reason why a phase without a
    complete instance is not measured. `ends` is by process a text on where its rows end or begin; `few` are the labels
    of instances with fewer launches than samples show.
    """

    dropped: Flags
    counts: Mapping[tuple[int, int], int]
    reasons: Mapping[tuple[int, int], str]
    ends: Mapping[int, str]
    few: tuple[str, ...]


@dataclass(frozen=True)
class InstanceCounts:
    """Counts of the report's rows for each phase instance; columns over instances.

    `calls` are CUDA API calls, `lone` kernel launch calls (by name) without a kernel, `driver_samples` the CPU samples
    in the CUDA driver outside API calls.
    """

    launches: Ints
    calls: Ints
    lone: Ints
    driver_samples: Ints


def find_lost_rows(instances: Instances, counts: InstanceCounts, spans: CudaSpans) -> LostRows:
    """Return the instances whose CUDA rows the importer lost.

    Rows are lost at the end if instances start after the last row (two, or one of a phase whose other instances
    launch), or several library ranges do. They are lost at the beginning if instances of a launching phase lie before
    the first row. Only device rows are lost if instances of a launching phase start after the last device operation and
    have launch calls without a kernel. An instance with less than half of its phase's median launches is lost if
    samples show the driver in it far more often than in the other instances.
    """
    lost, ends = np.zeros(len(instances), bool), dict[int, str]()
    process, phase = instances.thread & PROCESS_MASK, _phase_codes(instances)
    marked = np.array([source.kind != ALL for source in instances.sources] or [False], bool)[instances.source]
    idle = np.array([label == IDLE for label in instances.labels], bool)[instances.label]
    for process_id, (first, last) in spans.by_process.items():
        name = f"process {pid(process_id)}"
        in_process = marked & (process == process_id)
        within = in_process & (instances.start > first) & (instances.end <= last)
        # a phase that needs no CUDA (an idle step, tokenising) has instances without calls between first and last row
        needs_cuda = in_process & ~idle & ~np.isin(phase, phase[within & (counts.calls == 0)])
        launching = needs_cuda & np.isin(phase, phase[within & (counts.launches > 0)])
        after = needs_cuda & (instances.start >= last)
        if np.sum(after) >= _AT_LEAST or np.any(after & launching) or spans.libraries_go_on(process_id, last):
            lost |= after | (in_process & (instances.start < last) & (instances.end > last))
            ends[process_id] = f"the CUDA rows of {name} end at {last / 1e6:.3f} ms, while its phases go on"
        device_end = spans.device_end.get(process_id, last)
        undone = launching & (instances.start >= device_end) & (counts.lone > 0) & ~lost
        if undone.any():
            lost |= undone | (
                in_process & (instances.start < device_end) & (instances.end > device_end) & (counts.lone > 0)
            )
            ends[process_id] = f"the device rows of {name} end at {device_end / 1e6:.3f} ms, while it goes on to launch"
        before = launching & (instances.end <= first)
        if before.any():
            lost |= before | (in_process & (instances.start < first) & (instances.end > first))
            begin = f"the CUDA rows of {name} begin at {first / 1e6:.3f} ms, after its phases"
            ends[process_id] = f"{ends[process_id]}; {begin}" if process_id in ends else begin
    few = _few_launches(phase, counts.launches, counts.driver_samples) & ~lost
    return _lost_rows(instances, lost, few, ends)


def _phase_codes(instances: Instances) -> Ints:
    """Return a number for the (label, thread) of each instance."""
    pairs = np.stack([instances.label, instances.thread])
    return np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)


def _few_launches(phase: Ints, launches: Ints, driver_samples: Ints) -> Flags:
    """Flag the instances with few launches for their phase and many samples in the driver outside API calls."""
    flags = np.zeros(len(phase), bool)
    for code in np.unique(phase[driver_samples >= _MANY_SAMPLES]).tolist():
        members = phase == code
        usual, typical = percentile(launches[members], 50) or 0, percentile(driver_samples[members], 50) or 0
        flags |= members & (2 * launches < usual) & (driver_samples >= _MANY_SAMPLES) & (driver_samples > 2 * typical)
    return flags


def _lost_rows(instances: Instances, cut: Flags, few: Flags, ends: Mapping[int, str]) -> LostRows:
    lost = cut | few
    dropped, counts, reasons = lost.copy(), dict[tuple[int, int], int](), dict[tuple[int, int], str]()
    for label, thread in {*zip(instances.label[lost].tolist(), instances.thread[lost].tolist(), strict=True)}:
        members = (instances.label == label) & (instances.thread == thread)
        counts[label, thread] = int(np.sum(members & lost))
        if lost[members].all():
            dropped &= ~members
            reasons[label, thread] = f"{ends[thread & PROCESS_MASK]}, so the report does not hold this one"
    labels = sorted({instances.labels[code] for code in instances.label[few].tolist()})
    return LostRows(dropped=dropped, counts=counts, reasons=reasons, ends=ends, few=tuple(labels))
