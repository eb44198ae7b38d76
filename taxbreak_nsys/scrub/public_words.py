"""Replaces the private words in names and keeps the words by which the analysis classifies names.

Punctuation, numbers and public words stay. Every other word is replaced by a made-up word, always the same one. So
equal names stay equal, different names stay different, and a name keeps its class.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from taxbreak_nsys.model import name_rules
from taxbreak_nsys.phases import step_kind

_DATA = Path(name_rules.__file__).resolve().parent.parent / "data"
_PATTERN_KEYS = {"text", "tail", "kernels"}
_LETTERS = "jqvwxz"
"""Letters of made-up words; no public word consists of these alone."""

_COMMON = """
at native torch c10 cuda cudnn cublas cublaslt nccl triton vllm sgl flashinfer cutlass xla jit aten autograd
void const unsigned char short int long float double bool half bfloat16 kernel kernels elementwise vectorized
unrolled launch copy fill index gather scatter add mul sub div mean sum max min step iteration batch layer
token tokens forward request true false thread stream event device host memcpy memset functor lambda anonymous
namespace std detail impl
""".split()  # noqa: SIM905


def name_patterns(module: ModuleType) -> list[re.Pattern[str]]:
    """Return the patterns by which a module classifies names."""
    return [value for value in vars(module).values() if isinstance(value, re.Pattern)]


@cache
def public_words() -> frozenset[str]:
    """Return the words in the tables and patterns that classify names, and some common words, in lower case."""
    texts = [pattern.pattern for module in (name_rules, step_kind) for pattern in name_patterns(module)]
    for table in sorted(_DATA.glob("*.toml")):
        texts += _strings(tomllib.loads(table.read_text(encoding="utf-8")))
    texts += [*name_rules.LIBRARY_PREFIXES, *_COMMON]
    plain = (re.sub(r"\(\?P<\w+>|\\[a-zA-Z]", " ", text) for text in texts)
    return frozenset(word.lower() for text in plain for word in re.findall(r"[A-Za-z]{2,}", text))


def _strings(data: Any, inside: bool = False) -> Iterator[str]:
    if isinstance(data, str) and inside:
        yield data
    elif isinstance(data, list):
        for item in data:
            yield from _strings(item, inside)
    elif isinstance(data, dict):
        for key, item in data.items():
            yield from _strings(item, inside or key in _PATTERN_KEYS)
            if key == "phases" and isinstance(item, dict):
                yield from (word for pair in item.items() for word in map(str, pair))


@cache
def _public_part() -> re.Pattern[str]:
    """Return a pattern for public words inside a word, longest first; words under four letters are not included."""
    inside = sorted((word for word in public_words() if len(word) > 3), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, inside)), re.IGNORECASE)


_WORD = re.compile(r"[^\W\d_]+")


class PublicForm:
    """Converts names to their public form; a private word always gets the same replacement."""

    def __init__(self) -> None:
        self._replacements: dict[str, str] = {}
        self._public_forms: dict[str, str] = {}

    def of_name(self, name: str) -> str:
        """Return a name with its private words replaced."""
        return _WORD.sub(lambda match: self._public_word(match[0]), name)

    def _public_word(self, word: str) -> str:
        if len(word) == 1 or word.lower() in public_words():
            return word
        if word not in self._public_forms:
            parts: list[str] = []
            at = 0
            for match in _public_part().finditer(word):
                parts += [self._replaced(word[at : match.start()]), match[0]]
                at = match.end()
            self._public_forms[word] = "".join([*parts, self._replaced(word[at:])])
        return self._public_forms[word]

    def _replaced(self, private: str) -> str:
        if private and private not in self._replacements:
            self._replacements[private] = made_up(len(self._replacements))
        return self._replacements.get(private, "")


def made_up(number: int) -> str:
    """Return a meaningless word of at least two letters, distinct for each number."""
    number += len(_LETTERS) + 1
    word = ""
    while number:
        number, digit = divmod(number - 1, len(_LETTERS))
        word = _LETTERS[digit] + word
    return word
