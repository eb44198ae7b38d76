"""Classifies the modules (shared libraries) of call chains by the patterns of `data/modules.tsv` and of the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.input_files import read_user_text

CLASSES = ("unlisted", "system", "profiler", "library", "compiler", "driver", "framework", "interpreter")
"""Module classes; `unlisted` if no pattern matches. The header of `data/modules.tsv` explains them."""
CLASS = {name: code for code, name in enumerate(CLASSES)}

_TABLE = Path(__file__).resolve().parent.parent / "data" / "modules.tsv"


@dataclass(frozen=True)
class Pattern:
    """One line of the table: a file name or path pattern, the class code, and the name to show."""

    whole_path: bool
    match: re.Pattern[str]
    code: int
    name: str


@cache
def shipped() -> tuple[Pattern, ...]:
    """Return the patterns that come with the package."""
    return _parse(_TABLE)


def read_patterns(own: Path | None = None) -> tuple[Pattern, ...]:
    """Return the patterns in order of precedence: the user's file `own` (`--modules`), then the shipped table.

    Raises TaxbreakError, with the line number, where the file is malformed.
    """
    return (*_parse(own), *shipped()) if own is not None else shipped()


def _parse(path: Path) -> tuple[Pattern, ...]:
    try:
        lines = read_user_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TaxbreakError(f"{path}: cannot be read ({reason}); give a table of modules") from error
    patterns = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) not in (2, 3) or not fields[0]:
            raise TaxbreakError(
                f"{path}, line {number}: write PATTERN, CLASS and the name to show, with a tab between them"
            )
        glob, kind = fields[:2]
        if kind not in CLASSES[1:]:
            raise TaxbreakError(f"{path}, line {number}: class {kind!r} is not one of {', '.join(CLASSES[1:])}")
        name = fields[2] if len(fields) == 3 and fields[2] else glob.strip("*")
        patterns.append(Pattern("/" in glob, re.compile(translate(glob)), CLASS[kind], name))
    return tuple(patterns)


def file_name(module: str) -> str:
    """Return the file name of a module without its path, which could reveal a user's folders."""
    return module.replace("\\", "/").rsplit("/", 1)[-1]


def classify(modules: Sequence[str], patterns: Sequence[Pattern]) -> tuple[list[int], list[str]]:
    """Return the class code and the name to show for each module path; the first matching pattern decides.

    Without a match the class is `unlisted` and the name is the file name.
    """
    codes, names = [], []
    for module in modules:
        base = file_name(module)
        hit = next((p for p in patterns if p.match.match(module if p.whole_path else base)), None)
        codes.append(hit.code if hit else CLASS["unlisted"])
        names.append(hit.name if hit else base)
    return codes, names
