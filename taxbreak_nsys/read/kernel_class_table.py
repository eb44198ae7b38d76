"""Tables of kernel classes: `data/kernel_classes.toml` and a user's table (TOML)."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.kernel_classes import KernelClass
from taxbreak_nsys.read.input_files import read_user_toml

_TABLE = Path(__file__).resolve().parent.parent / "data" / "kernel_classes.toml"
_ONLY_WORD = re.compile(r"\*[^*?\[\]]+\*")
_KEYS = frozenset({"name", "title", "kernels"})


def load_kernel_classes(extra: Path | None = None) -> tuple[KernelClass, ...]:
    """Return the classes in matching order, the classes of the user's file `extra` first.

    A class of `extra` without a title takes the shipped title of its name. Raises TaxbreakError, which names the file
    and the class, where the file cannot be read or does not have the form of docs/tables.md.
    """
    shipped = _shipped()
    if extra is None:
        return shipped
    titles = {known.name: known.title for known in shipped}
    given = _parse_file(extra)
    return (*(KernelClass(k.name, k.title or titles.get(k.name, k.name), k.words, k.pattern) for k in given), *shipped)


@cache
def _shipped() -> tuple[KernelClass, ...]:
    return _parse_file(_TABLE)


def _parse_file(path: Path) -> tuple[KernelClass, ...]:
    """Return the classes of a TOML file; raises TaxbreakError, which names the file and the fault."""
    data = read_user_toml(path, "--kernel-classes", "docs/tables.md")
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
    # Most globs are `*word*`, and a word is found several times as fast as a regular expression matches.
    words = tuple(glob[1:-1] for glob in globs if _ONLY_WORD.fullmatch(glob))
    others = [translate(glob) for glob in globs if not _ONLY_WORD.fullmatch(glob)]
    return KernelClass(name=name, title=title, words=words, pattern=re.compile("|".join(others)) if others else None)
