"""Phase entries, the units that are summed up: one per (label, host thread) with instances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.phases import Instances


@dataclass(frozen=True)
class PhaseThreads:
    """The entries of a report, ordered by the first instance of their label, then by thread.

    `of_instance` is the entry of each instance; `label` (a code) and `thread` have one element per entry.
    """

    instances: Instances
    label: Ints
    thread: Ints
    of_instance: Ints

    @classmethod
    def of(cls, instances: Instances) -> PhaseThreads:
        """Return the entries of the instances."""
        label, thread = instances.label, instances.thread
        first = {code: int(instances.start[label == code].min()) for code in np.unique(label).tolist()}
        pairs = sorted({*zip(label.tolist(), thread.tolist(), strict=True)}, key=lambda p: (first[p[0]], p[0], p[1]))
        number = {pair: k for k, pair in enumerate(pairs)}
        entry = [number[pair] for pair in zip(label.tolist(), thread.tolist(), strict=True)]
        columns = np.array(pairs, np.int64).reshape(-1, 2)
        return cls(instances, columns[:, 0], columns[:, 1], np.array(entry, np.int64))

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def by_label(self) -> list[tuple[int, list[int]]]:
        """(label code, its entries) for each label."""
        entries: dict[int, list[int]] = {}
        for entry, label in enumerate(self.label.tolist()):
            entries.setdefault(label, []).append(entry)
        return list(entries.items())

    def instances_of(self, entry: int) -> Flags:
        """Return a flag per instance: whether it belongs to the entry."""
        return self.of_instance == entry

    def of_held(self, instance: Ints, index: Ints) -> Ints:
        """Return the entry of each row of `instance`, -1 for -1; `index` maps its numbers to the report's instances."""
        if not len(index):
            return np.full(len(instance), -1, np.int64)
        return np.where(instance >= 0, self.of_instance[index][np.maximum(instance, 0)], -1)

    def key(self, entry: int) -> tuple[str, int, int]:
        """Return the (label, process id, thread id) of an entry."""
        thread = int(self.thread[entry])
        return self.instances.labels[int(self.label[entry])], pid(thread), tid(thread)
