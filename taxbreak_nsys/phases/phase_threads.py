"""The phase entries that sums are kept for: each label on each thread that has instances of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.phases import Instances


@dataclass(frozen=True)
class PhaseThreads:
    """The entries of a report, in the order of their label's first instance, then by thread.

    `of_instance` is the entry of each instance; `label` (a code) and `thread` are columns over entries.
    """

    instances: Instances
    label: Ints
    thread: Ints
    of_instance: Ints

    @classmethod
    def of(cls, instances: Instances) -> PhaseThreads:
        """Number the entries."""
        label, thread = instances.label, instances.thread
        first = {code: int(instances.start[label == code].min()) for code in np.unique(label).tolist()}
        pairs = sorted({*zip(label.tolist(), thread.tolist(), strict=True)}, key=lambda p: (first[p[0]], p[0], p[1]))
        number = {pair: k for k, pair in enumerate(pairs)}
        of = [number[pair] for pair in zip(label.tolist(), thread.tolist(), strict=True)]
        columns = np.array(pairs, np.int64).reshape(-1, 2)
        return cls(instances, columns[:, 0], columns[:, 1], np.array(of, np.int64))

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.label)

    @cached_property
    def by_label(self) -> list[tuple[int, list[int]]]:
        """Each label (a code) with its entries."""
        found: dict[int, list[int]] = {}
        for entry, label in enumerate(self.label.tolist()):
            found.setdefault(label, []).append(entry)
        return list(found.items())

    def instances_of(self, entry: int) -> Flags:
        """Tell which instances belong to an entry."""
        return self.of_instance == entry

    def of_held(self, instance: Ints, index: Ints) -> Ints:
        """Return the entry of each of some instances, -1 for -1; `index` has their numbers in the whole."""
        if not len(index):
            return np.full(len(instance), -1, np.int64)
        return np.where(instance >= 0, self.of_instance[index][np.maximum(instance, 0)], -1)

    def key(self, entry: int) -> tuple[str, int, int]:
        """Return what names an entry: its label, process id and thread id."""
        thread = int(self.thread[entry])
        return self.instances.labels[int(self.label[entry])], pid(thread), tid(thread)
