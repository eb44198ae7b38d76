"""Counts of the CPU samples of each phase entry, by state and kind of code, added piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from taxbreak_nsys.arrays.grouped import GroupSums, ValueCounts
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.sample_hits import KIND, KINDS, Sampled
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import runs
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.read.module_table import CLASS
from taxbreak_nsys.read.sample_reader import CpuSamples
from taxbreak_nsys.read.stack_frames import Modules
from taxbreak_nsys.totals.sampled_split import Counted, Split, split_counts

_NEAR = 10
"""The stated period is taken to be in ns if it differs from the measured spacing by at most 1 / 10."""

_OUTSIDE_CALLS = [STATES.index(state) for state in ("library", "dispatch", "python")]
"""The states in which a thread is outside CUDA API calls."""

Hits = Mapping[tuple[int, int], tuple[int, int]]
"""Samples, and those of them between the marks, by (module id, symbol id) of the frame that they are listed under."""


class SampleTotals:
    """Samples by entry, state and kind, and by the frame that decided the kind."""

    def __init__(self, entries: PhaseThreads) -> None:
        self._entries = entries
        self._counts = np.zeros((len(entries), len(STATES), len(KINDS)), np.int64)
        self._undecided = np.zeros((len(entries), len(STATES)), np.int64)
        self._on_cpu = np.zeros((len(entries), len(STATES)), np.int64)
        self._switched = np.zeros(len(entries), bool)
        self._frames: dict[tuple[int, int], int] = {}
        self._by_frame: dict[int, GroupSums] = {}
        self._unlisted: dict[int, int] = {}
        self._gaps = ValueCounts()
        self._last: dict[int, int] = {}
        self._fresh, self._deep = 0, 0
        self.driver_outside_calls = np.zeros(len(entries.instances), np.int64)
        """By instance, the samples in the CUDA driver outside API calls, which show calls that the report lost."""
        self.modules = Modules()
        self.symbols: dict[int, str] = {}
        """The texts of the symbol ids in `symbol_ids`."""
        self.stated_period: int | None = None
        """The sampling period that the report states; its unit is not always ns."""

    def add(self, sampled: Sampled, index: Ints) -> None:
        """Add a piece; `index` numbers its instances in the whole."""
        source = sampled.source
        self.modules = source.modules
        self._add_gaps(source)
        entry_of = self._entries.of_instance[index]
        np.add.at(self._on_cpu, entry_of, sampled.on_cpu)
        self._switched[entry_of[sampled.switched]] = True
        rows = np.flatnonzero(sampled.instance >= 0)
        entry = entry_of[sampled.instance[rows]]
        state, kind = sampled.state[rows], sampled.kind[rows]
        np.add.at(self._counts, (entry, state, kind), 1)
        in_driver = rows[(source.first.code[rows] == CLASS["driver"]) & np.isin(state, _OUTSIDE_CALLS)]
        self.driver_outside_calls[index] += np.bincount(sampled.instance[in_driver], minlength=len(index))
        lost = sampled.undecided[rows]
        np.add.at(self._undecided, (entry[lost], state[lost]), 1)
        pair, sample = np.unique((sampled.frame.module[rows] << 32) | sampled.frame.symbol[rows], return_inverse=True)
        code = np.array(
            [self._frames.setdefault((key >> 32, key & 0xFFFFFFFF), len(self._frames)) for key in pair.tolist()],
            np.int64,
        )
        for number in np.unique(entry).tolist():
            of_entry = entry == number
            group = (code[sample[of_entry]] * len(STATES) + state[of_entry]) * len(KINDS) + kind[of_entry]
            sums = self._by_frame.setdefault(number, GroupSums("samples", "between"))
            sums.add(group, samples=1, between=sampled.between[rows][of_entry].astype(np.int64))
        leaf = source.leaf
        unlisted = rows[(leaf.code[rows] == 0) & (leaf.module[rows] != 0)]
        for module, count in zip(
            *(c.tolist() for c in np.unique(leaf.module[unlisted], return_counts=True)), strict=True
        ):
            self._unlisted[module] = self._unlisted.get(module, 0) + count

    def _add_gaps(self, source: CpuSamples) -> None:
        """Count the gaps between the samples of each thread, and the samples with more than a leaf frame."""
        self._fresh += int(source.fresh.sum())
        self._deep += int(np.sum(source.fresh & source.deep))
        start, thread = source.start[source.fresh], source.thread[source.fresh]
        for low, high in runs(thread):
            thread_id = int(thread[low])
            moments = start[low:high] if thread_id not in self._last else np.r_[self._last[thread_id], start[low:high]]
            gaps = moments[1:] - moments[:-1]
            self._gaps.add(np.zeros(len(gaps), np.int64), gaps)
            self._last[thread_id] = int(start[high - 1])

    @property
    def seen(self) -> int:
        """The number of samples with a call chain, in phases and outside."""
        return self._fresh

    @property
    def period_ns(self) -> int | None:
        """The time between two samples of a thread that stays on the CPU, ns; None without samples.

        The report states a period without its unit: ns if the kernel's CPU clock triggered the samples, cycles if a
        hardware counter did. So the period is measured: the lower quartile of the gaps between a thread's samples, as
        gaps are longer only when the thread was off the CPU. The stated period is used if it is close to the measured
        one.
        """
        if not self._fresh:
            return None
        spacing, stated = self._gaps.percentile(25), self.stated_period
        if spacing is None:
            return stated or 1
        return stated if stated and abs(stated - spacing) * _NEAR <= spacing else max(spacing, 1)

    @property
    def has_chains(self) -> bool:
        """False if at least half of the samples have only a leaf frame."""
        return 2 * self._deep > self._fresh

    @property
    def symbol_ids(self) -> Ints:
        """The StringIds of the symbols that samples are listed under."""
        return np.array(sorted({symbol for _, symbol in self._frames}), np.int64)

    def split(self, entry: int, time: Ints) -> Split | None:
        """Return the strata of an entry, whose states take `time` (ns); None if the report has no samples."""
        return self.split_together([entry], time, self._on_cpu[entry])

    def split_of_ranks(self, entries: Sequence[int], time: Ints, whole: Ints) -> Split | None:
        """Return the strata of a group of ranks, from the samples of all ranks.

        `time` is by state the time of the group's entry, `whole` the time of all ranks together, ns.
        """
        on_cpu = self._on_cpu[list(entries)].sum(axis=0)
        share = np.divide(time, whole, out=np.zeros(len(time)), where=whole > 0)
        return self.split_together(entries, time, (on_cpu * share).astype(np.int64))

    def split_together(self, entries: Sequence[int], time: Ints, on_cpu: Ints) -> Split | None:
        """Return the strata of several entries together; `time` and `on_cpu` (ns) are by state."""
        period = self.period_ns
        if period is None:
            return None
        members = list(entries)
        counted = Counted(
            counts=self._counts[members].sum(axis=0),
            undecided=self._undecided[members].sum(axis=0),
            time=time,
            on_cpu=on_cpu,
            switched=bool(self._switched[members].all()),
            period_ns=period,
        )
        return split_counts(counted)

    def hits(self, entry: int) -> Mapping[tuple[str, str], Hits]:
        """Return the samples of an entry by (state, kind) and, within each, by frame."""
        frames = list(self._frames)
        by_kind: dict[tuple[str, str], dict[tuple[int, int], tuple[int, int]]] = {}
        table = self._by_frame[entry].table() if entry in self._by_frame else {}
        for group, row in table.items():
            rest, kind = divmod(group, len(KINDS))
            frame, state = divmod(rest, len(STATES))
            by_kind.setdefault((STATES[state], KINDS[kind]), {})[frames[frame]] = row["samples"], row["between"]
        return by_kind

    def library_modules(self, entry: int, states: Sequence[str]) -> set[str]:
        """Return the names of the library modules that samples of an entry are listed under, in the given states."""
        return {
            self.modules.name.get(module, "")
            for (state, kind), hits in self.hits(entry).items()
            if kind == "library" and state in states
            for module, _ in hits
        }

    @property
    def unknown_share(self) -> float:
        """The share of samples in no known module, 0 to 1, among all samples in phases."""
        total = int(self._counts.sum())
        return int(self._counts[:, :, KIND["unknown"]].sum()) / total if total else 0.0

    @property
    def unknown_modules(self) -> list[tuple[str, int]]:
        """Unknown modules at the leaf of samples in phases, as (file, samples), most samples first."""
        names: dict[str, int] = {}
        for module, count in self._unlisted.items():
            name = self.modules.file.get(module, "")
            names[name] = names.get(name, 0) + count
        return sorted(names.items(), key=lambda item: (-item[1], item[0]))
