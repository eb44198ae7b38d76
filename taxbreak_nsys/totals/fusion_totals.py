"""Candidates for fusion: runs of short kernels for whose launches the device waited."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from taxbreak_nsys.arrays.grouped import group_sums
from taxbreak_nsys.arrays.intervals import Flags, Intervals, Ints, count_at_or_before
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.measure.library_launches import launch_kernel_names
from taxbreak_nsys.model.kernel_classes import KernelClass, classify
from taxbreak_nsys.model.kernel_names import short_name
from taxbreak_nsys.model.launches import KERNEL_LAUNCH
from taxbreak_nsys.model.trace_columns import runs, thread_slice
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.exposed_piece import ExposedPiece
from taxbreak_nsys.totals.label_codes import LabelCodes
from taxbreak_nsys.totals.listing_rows import Row, head

SHORT_NS = 10_000
"""A kernel of at most this duration is short."""
NOT_FUSED = frozenset({"gemm", "attention", "moe", "communication"})
"""Classes of kernels that a compiler does not usually fuse with their neighbours; such a kernel ends a run."""
MOST_KERNELS = 32
"""Longer runs are cut into runs of at most this number of kernels."""
MOST_PATTERNS = 20_000
"""New patterns of kernels are not listed after this number of different patterns."""


class FusionTotals:
    """Runs of short kernels by entry and names: their count, and for each kernel of the run three sums.

    The sums are the exposed time of its launch call, its exposed path and its device time, ns. The exposed path is all
    exposed time since the end of the previous launch.

    The places of the runs are kept too, for the replay; `keep_within` drops those that no replay reaches.
    """

    def __init__(self, entries: PhaseThreads, classes: Sequence[KernelClass]) -> None:
        """`classes` are the classes of kernels; a kernel of a class in NOT_FUSED ends a run."""
        self._entries, self._classes = entries, classes
        self._names = LabelCodes(short_name)
        self._fused = np.empty(0, bool)
        self._runs: dict[tuple[int, tuple[int, ...]], Ints] = {}
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        self._places: list[KernelRuns] = []

    def add(self, part: ExposedPiece) -> None:
        """Add a piece."""
        columns, exposed, cells = part.piece.columns, part.exposed, part.cells
        launches = columns.launches
        if not len(launches):
            return
        names = self._names.of_names(columns.trace.ops.names)
        fresh = classify(self._names.labels[len(self._fused) :], self._classes)
        self._fused = np.r_[self._fused, np.array([name not in NOT_FUSED for name in fresh], bool)]
        kernel = launch_kernel_names(columns.trace, launches)
        in_call = np.flatnonzero(cells.launch[exposed.cell] >= 0)
        in_launch = group_sums(cells.launch[exposed.cell[in_call]], exposed.duration[in_call], len(launches))
        chosen = (
            (part.launch_entry >= 0)
            & (launches.kind == KERNEL_LAUNCH)
            & (launches.kernels == 1)
            & (launches.device_ns <= SHORT_NS)
            & (in_launch > 0)
        )
        chosen[chosen] = self._fused[names[kernel[chosen]]]
        waits = columns.intervals.state == STATE["device_wait"]
        for low, high in runs(launches.thread):
            thread = int(launches.thread[low])
            rows = thread_slice(columns.intervals.thread, thread)
            waited = count_at_or_before(columns.intervals.start[rows][waits[rows]], launches.start[low:high])
            free = np.flatnonzero(cells.thread[exposed.cell] == thread)
            path = _between(exposed.start[free], exposed.end[free], launches.end[low:high])
            breaks = (np.diff(columns.launch_instance[low:high]) != 0) | (np.diff(waited) != 0)
            figures = np.stack([in_launch[low:high], path, launches.device_ns[low:high]], axis=1)
            found = self._add_runs(
                chosen[low:high], breaks, part.launch_entry[low:high], names[kernel[low:high]], figures
            )  # fmt: skip
            if found:
                start = launches.start[low:high].tolist()
                places = [(number, thread, start[first], start[past - 1]) for number, first, past in found]
                self._places.append(KernelRuns.of_rows(places))

    def _add_runs(
        self, chosen: Flags, breaks: Flags, entry: Ints, name: Ints, figures: Ints
    ) -> list[tuple[int, int, int]]:
        """Add the runs of `chosen` neighbours; `breaks[k]` separates launch k from launch k + 1.

        Returns (number of the pattern, first, past) of each run.
        """
        found: list[tuple[int, int, int]] = []
        if not chosen.any():
            return found
        joined = chosen[1:] & chosen[:-1] & ~breaks
        edges = np.flatnonzero(np.diff(np.r_[False, joined, False].astype(np.int8)))
        codes, entries = name.tolist(), entry.tolist()
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            for low in range(first, last + 1, MOST_KERNELS):
                high = min(low + MOST_KERNELS, last + 1)
                if high - low < 2:
                    continue
                key = (entries[low], tuple(codes[low:high]))
                sums = self._runs.get(key)
                if sums is None:
                    if len(self._runs) >= MOST_PATTERNS:
                        continue
                    sums = self._runs[key] = np.zeros((high - low, 4), np.int64)
                    self._numbers[key] = len(self._numbers)
                sums[:, 0] += 1
                sums[:, 1:] += figures[low:high]
                found.append((self._numbers[key], low, high))
        return found

    def keep_within(self, spans: Intervals) -> None:
        """Drop the places of runs that do not begin in one of the spans, which are disjoint and sorted."""
        runs = self.places()
        at = np.searchsorted(spans[0], runs.first, side="right") - 1
        self._places = [runs.keep((at >= 0) & (runs.first < spans[1][np.maximum(at, 0)]))] if len(spans[0]) else []

    def places(self) -> KernelRuns:
        """Return the places of all runs; `pattern` is the number of the row with the same `number`."""
        return KernelRuns.joined(self._places)

    def rows(self, walls: Ints, steps: Ints) -> list[Row]:
        """Return a row for each pattern of names and entry, the largest saving first.

        `saved_ns` is the exposed time of all launch calls of the run except the first: fusing the kernels leaves one
        launch. `path_ns` is all exposed time between the first launch and the last: an upper bound of the saving, which
        includes the Python and dispatch time between them. `number` is the pattern's number in `places`. `walls` (ns)
        and `steps` are columns over the entries.
        """
        labels = self._names.labels
        rows = [
            head(self._entries, entry)
            | {
                "instances": int(sums[0, 0]),
                "kernels": len(pattern),
                "saved_ns": int(sums[1:, 1].sum()),
                "saved_per_step_ns": int(sums[1:, 1].sum()) // int(steps[entry]) if steps[entry] else None,
                "share": float(sums[1:, 1].sum() / walls[entry]) if walls[entry] else None,
                "path_ns": int(sums[1:, 2].sum()),
                "device_ns": int(sums[:, 3].sum()),
                "pattern": _pattern_text([labels[code] for code in pattern]),
                "number": self._numbers[entry, pattern],
                "entry": entry,
            }
            for (entry, pattern), sums in self._runs.items()
        ]
        rows.sort(key=lambda row: (row["entry"], -row["saved_ns"], row["pattern"]))
        return [{key: value for key, value in row.items() if key != "entry"} for row in rows]


def _between(start: Ints, end: Ints, moments: Ints) -> Ints:
    """Return the time of sorted disjoint intervals between each moment and the previous moment, ns."""
    before = np.r_[0, np.cumsum(end - start)]
    at = np.searchsorted(start, moments, side="right")
    covered = before[at] - np.maximum(np.r_[np.int64(0), end][at] - moments, 0) * (at > 0)
    return np.diff(covered, prepend=covered[:1])


def _pattern_text(names: Sequence[str]) -> str:
    """Return names joined by ` + `; neighbours of one name appear once with their count."""
    groups = ((name, len(list(same))) for name, same in groupby(names))
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in groups)
