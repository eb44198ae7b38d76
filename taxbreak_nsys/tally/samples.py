"""What the CPU samples of each phase entry hit, counted piece by piece."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taxbreak_nsys.intervals import Ints
from taxbreak_nsys.read.samples import Names
from taxbreak_nsys.samples import KIND, KINDS, Sampled
from taxbreak_nsys.strata import Counted, Split, split_of
from taxbreak_nsys.tally.entries import Entries
from taxbreak_nsys.groups import Totals
from taxbreak_nsys.words import STATES

Hits = Mapping[tuple[int, int], int]
"""Samples by (module id, symbol id) of the frame that they are shown under."""


class SampleTally:
    """Samples by entry, state and kind, and by the frame that decided."""

    def __init__(self, entries: Entries) -> None:
        """Begin with nothing."""
        self._entries = entries
        self._counts = np.zeros((len(entries), len(STATES), len(KINDS)), np.int64)
        self._undecided = np.zeros((len(entries), len(STATES)), np.int64)
        self._on_cpu = np.zeros((len(entries), len(STATES)), np.int64)
        self._switched = np.zeros(len(entries), bool)
        self._frames: dict[tuple[int, int], int] = {}
        self._by_frame: dict[int, Totals] = {}
        self._unlisted: dict[int, int] = {}
        self.names = Names({}, {}, {})
        self.symbols: dict[int, str] = {}
        self.period_ns: int | None = None
        self.has_chains = True

    def add(self, sampled: Sampled, index: Ints) -> None:
        """Add a piece; `index` numbers its instances in the whole."""
        source = sampled.source
        self.names, self.symbols = source.names, source.symbols
        self.period_ns, self.has_chains = source.period_ns, source.has_chains
        entry_of = self._entries.of_instance[index]
        np.add.at(self._on_cpu, entry_of, sampled.on_cpu)
        self._switched[entry_of[sampled.switched]] = True
        held = np.flatnonzero(sampled.instance >= 0)
        entry = entry_of[sampled.instance[held]]
        state, kind = sampled.state[held], sampled.kind[held]
        np.add.at(self._counts, (entry, state, kind), 1)
        lost = sampled.undecided[held]
        np.add.at(self._undecided, (entry[lost], state[lost]), 1)
        pair, sample = np.unique(
            (sampled.frame.module[held] << 32) | sampled.frame.symbol[held], return_inverse=True
        )
        code = np.array(
            [self._frames.setdefault((one >> 32, one & 0xFFFFFFFF), len(self._frames)) for one in pair.tolist()], np.int64
        )
        for one in np.unique(entry).tolist():
            mine = entry == one
            group = (code[sample[mine]] * len(STATES) + state[mine]) * len(KINDS) + kind[mine]
            self._by_frame.setdefault(one, Totals("samples")).add(group, samples=1)
        leaf = source.leaf
        unlisted = held[(leaf.code[held] == 0) & (leaf.module[held] != 0)]
        for module, count in zip(*(c.tolist() for c in np.unique(leaf.module[unlisted], return_counts=True)), strict=True):
            self._unlisted[module] = self._unlisted.get(module, 0) + count

    def split(self, entry: int, time: Ints) -> Split | None:
        """Return the strata of an entry, whose states take `time` (ns); None where the report has no samples."""
        if self.period_ns is None:
            return None
        counted = Counted(
            self._counts[entry], self._undecided[entry], time, self._on_cpu[entry], bool(self._switched[entry]),
            self.period_ns,
        )  # fmt: skip
        return split_of(counted)

    def hits(self, entry: int) -> dict[tuple[str, str], Hits]:
        """Return the samples of an entry by (state, kind), and of those by frame."""
        frames = list(self._frames)
        found: dict[tuple[str, str], dict[tuple[int, int], int]] = {}
        table = self._by_frame[entry].table() if entry in self._by_frame else {}
        for group, row in table.items():
            rest, kind = divmod(group, len(KINDS))
            frame, state = divmod(rest, len(STATES))
            found.setdefault((STATES[state], KINDS[kind]), {})[frames[frame]] = row["samples"]
        return dict(found)

    @property
    def unknown_share(self) -> float:
        """The share of all samples in phases that are in no known module."""
        total = int(self._counts.sum())
        return int(self._counts[:, :, KIND["unknown"]].sum()) / total if total else 0.0

    @property
    def unknown_modules(self) -> list[tuple[str, int]]:
        """The modules that no pattern knows and that samples in phases were in at the leaf, most first."""
        names: dict[str, int] = {}
        for module, count in self._unlisted.items():
            name = self.names.module_file.get(module, "")
            names[name] = names.get(name, 0) + count
        return sorted(names.items(), key=lambda item: (-item[1], item[0]))
