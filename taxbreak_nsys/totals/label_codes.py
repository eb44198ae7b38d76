"""Codes of labels for codes of names; several names can share a label, and new names arrive piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints


class LabelCodes:
    """Numbers the labels of names in the order of their first appearance."""

    def __init__(self, label: Callable[[str], str]) -> None:
        """`label` returns the label of a name."""
        self._label = label
        self._codes: dict[str, int] = {}
        self._of_name = np.empty(0, np.int64)
        self.labels: list[str] = []

    def of_names(self, names: Sequence[str]) -> Ints:
        """Return the label code of each name code; `names` starts with the names of all earlier calls."""
        fresh = names[len(self._of_name) :]
        if fresh:
            codes = [self._codes.setdefault(self._label(name), len(self._codes)) for name in fresh]
            self._of_name = np.r_[self._of_name, np.array(codes, np.int64)]
            self.labels = list(self._codes)
        return self._of_name
