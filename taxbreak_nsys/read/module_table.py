"""Which module of a call chain is whose: the table `data/modules.tsv`, and a user's own before it."""

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
"""What a module can be; `unlisted` is what no pattern knows. Their meaning stands in the table's header."""
CLASS = {name: code for code, name in enumerate(CLASSES)}

_TABLE = Path(__file__).resolve().parent.parent / "data" / "modules.tsv"


@dataclass(frozen=True)
class Pattern:
    """One line of the table."""

    whole_path: bool
    match: re.Pattern[str]
    code: int
    name: str


@cache
def shipped() -> tuple[Pattern, ...]:
    """Return the patterns that come with the package."""
    return _parse(_TABLE)


def read_patterns(own: Path | None = None) -> tuple[Pattern, ...]:
    """Return the patterns, those of the file `own` (`--modules`) first; raises TaxbreakError naming the line."""
    return (*_parse(own), *shipped()) if own is not None else shipped()


def _parse(path: Path) -> tuple[Pattern, ...]:
    try:
        lines = read_user_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TaxbreakError(f"{path}: cannot be read ({reason}); give a table of modules") from error
    found = []
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
        found.append(Pattern("/" in glob, re.compile(translate(glob)), CLASS[kind], name))
    return tuple(found)


def file_name(module: str) -> str:
    """Return a module's file name: its path would show a user's folders."""
    return module.replace("\\", "/").rsplit("/", 1)[-1]


def classify(modules: Sequence[str], patterns: Sequence[Pattern]) -> tuple[list[int], list[str]]:
    """Return for each module (a path) its class code and the name to show; its file name where none knows it."""
    codes, names = [], []
    for module in modules:
        base = file_name(module)
        hit = next((p for p in patterns if p.match.match(module if p.whole_path else base)), None)
        codes.append(hit.code if hit else CLASS["unlisted"])
        names.append(hit.name if hit else base)
    return codes, names
