"""Classes of kernels (GEMM, attention, communication …) by name; `read/kernel_class_table.py` reads their tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from taxbreak_nsys.model.kernel_names import base_name

OTHER = "other"
"""The class of a kernel whose name matches no pattern."""
COMMUNICATION = "communication"
"""The class of a collective library's kernels (method section 2.3)."""
COPY = "copy"
"""The class of copy kernels, and of copies and sets of device memory."""

_LONGEST = 8192
"""The number of leading characters of a name that patterns are matched against."""


@dataclass(frozen=True, eq=False)
class KernelClass:
    """A class of kernels: `name` in the data, `title` for people; which lower-case names are its kernels'.

    A kernel's name contains one of `words` (the globs of the form `*word*`) or matches `pattern` (the other globs).
    """

    name: str
    title: str
    words: tuple[str, ...]
    pattern: re.Pattern[str] | None

    def holds(self, kernel: str) -> bool:
        """Return whether a kernel's name, whole or without namespaces and arguments, is one of the class."""
        whole, base = kernel.lower()[:_LONGEST], base_name(kernel).lower()[:_LONGEST]
        if any(word in whole or word in base for word in self.words):
            return True
        return self.pattern is not None and bool(self.pattern.match(whole) or self.pattern.match(base))


def classify(kernels: Sequence[str], classes: Sequence[KernelClass]) -> list[str]:
    """Return the class name of each kernel (by its demangled name); OTHER where no class matches."""
    chosen = tuple(classes)
    return [_class_of(kernel, chosen) for kernel in kernels]


@lru_cache(100_000)  # asked for the same kernels in every window
def _class_of(kernel: str, classes: tuple[KernelClass, ...]) -> str:
    return next((known.name for known in classes if known.holds(kernel)), OTHER)


def class_titles(classes: Sequence[KernelClass]) -> dict[str, str]:
    """Return {class name: title} in the order of the tables, with OTHER last; a user's title wins."""
    titles: dict[str, str] = {}
    for known in classes:
        titles.setdefault(known.name, known.title or known.name)
    return titles | {OTHER: "Other"}
