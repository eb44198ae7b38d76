"""Classes of kernels (GEMM, attention, communication …) by name: `data/kernel_classes.toml` and a user's table."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.kernel_names import base_name

OTHER = "other"
"""The class of a kernel whose name matches no pattern."""
COMMUNICATION = "communication"
"""The class of a collective library's kernels (method section 2.3)."""
COPY = "copy"
"""The class of copy kernels, and of copies and sets of device memory."""

_TABLE = Path(__file__).resolve().parent.parent / "data" / "kernel_classes.toml"
_KEYS = frozenset({"name", "title", "kernels"})
_ONLY_WORD = re.compile(r"\*[^*?\[\]]+\*")
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


@cache
def load_kernel_classes(extra: Path | None = None) -> tuple[KernelClass, ...]:
    """Return the classes in matching order, the classes of the user's file `extra` first.

    A class of `extra` without a title takes the shipped title of its name. Raises TaxbreakError, which names the file
    and the class, where the file cannot be read or does not have the form of docs/tables.md.
    """
    shipped = _parse_file(_TABLE)
    if extra is None:
        return shipped
    titles = {known.name: known.title for known in shipped}
    given = _parse_file(extra)
    return (*(KernelClass(k.name, k.title or titles.get(k.name, k.name), k.words, k.pattern) for k in given), *shipped)


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


def _parse_file(path: Path) -> tuple[KernelClass, ...]:
    """Return the classes of a TOML file; raises TaxbreakError, which names the file and the fault."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); give --kernel-classes a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaxbreakError(f"{path}: not TOML ({error}); see docs/tables.md for the form") from error
    entries = data.get("class")
    if not isinstance(entries, list) or not entries:
        raise TaxbreakError(f"{path}: no [[class]] in it; see docs/tables.md for the form of --kernel-classes")
    return tuple(_class(path, entry) for entry in entries)


def _class(path: Path, entry: Any) -> KernelClass:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise TaxbreakError(f"{path}: a [[class]] without a name")
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise TaxbreakError(
            f"{path}: class {name!r}: unknown key {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}"
        )
    kernels, title = entry.get("kernels"), entry.get("title", "")
    if not isinstance(kernels, list) or not kernels or not all(isinstance(k, str) and k for k in kernels):
        raise TaxbreakError(f"{path}: class {name!r}: kernels must be a list of globs, such as ['*gemm*']")
    if not isinstance(title, str):
        raise TaxbreakError(f"{path}: class {name!r}: title must be a string")
    globs = [kernel.lower() for kernel in kernels]
    # Compiling a regular expression for each of the many `*word*` would take longer than a small report's analysis.
    words = tuple(glob[1:-1] for glob in globs if _ONLY_WORD.fullmatch(glob))
    others = [translate(glob) for glob in globs if not _ONLY_WORD.fullmatch(glob)]
    return KernelClass(name=name, title=title, words=words, pattern=re.compile("|".join(others)) if others else None)
