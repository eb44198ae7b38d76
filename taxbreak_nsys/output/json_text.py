"""JSON that every parser accepts: NaN and infinities become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Return JSON without a line end; NaN and infinities become null, bytes hex digits, other objects their `str`."""
    try:
        return _text(data, indent)
    except ValueError:
        return _text(_finite(data), indent)


def json_document(data: Any) -> str:
    """Return indented JSON that ends with a line end."""
    return json_text(data, indent=2) + "\n"


def _text(data: Any, indent: int | None) -> str:
    if not indent:
        return _dumped(data)
    parts: list[str] = []
    _indent(parts, data, " " * indent, "\n")
    return "".join(parts)


@lru_cache(maxsize=32)
def _encoder(item_separator: str) -> json.JSONEncoder:
    return json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, default=_plain, separators=(item_separator, ": ")
    )  # fmt: skip


def _dumped(data: Any, item_separator: str = ", ") -> str:
    return _encoder(item_separator).encode(data)


def _indent(parts: list[str], data: Any, indent: str, line: str) -> None:
    """Append the text that `json.dumps` returns with `indent`; `line` is a line end and the indent of `data`.

    With an indent, Python's json is a slow encoder in Python. Here its fast one writes all that holds no container,
    and lists of objects that hold none.
    """
    if not isinstance(data, (dict, list, tuple)) or not data:
        parts.append(_dumped(data))
        return
    inner = line + indent
    values = data.values() if isinstance(data, dict) else data
    if not any(isinstance(value, (dict, list, tuple)) for value in values):
        text = _dumped(data, f",{inner}")
        parts += text[0], inner, text[1:-1], line, text[-1]
    elif isinstance(data, dict):
        separator = "{"
        for key, value in data.items():
            # A key alone is written as json writes it: {"1": 0} for the number 1.
            parts += separator, inner, _dumped({key: 0})[1:-2]
            _indent(parts, value, indent, inner)
            separator = ","
        parts += line, "}"
    elif _are_flat_rows(data):
        parts += "[", inner, *_indented_rows(data, inner, inner + indent), line, "]"
    else:
        separator = "["
        for value in data:
            parts += separator, inner
            _indent(parts, value, indent, inner)
            separator = ","
        parts += line, "]"


def _are_flat_rows(data: Sequence[Any]) -> bool:
    """Return whether every element is an object with values that hold no container."""
    if not all(isinstance(row, dict) and row for row in data):
        return False
    kinds: set[type] = set()
    for row in data:
        kinds.update(map(type, row.values()))
    return not any(issubclass(kind, (dict, list, tuple)) for kind in kinds)


def _indented_rows(rows: Sequence[Any], inner: str, innermost: str) -> tuple[str, ...]:
    """Return the parts of the text of flat rows, written by the fast encoder in one go.

    It has a line end between two rows, as between two values. JSON has no line end inside a string, so the places
    between rows are found by their text.
    """
    text = _dumped(rows, f",{innermost}")
    return "{", innermost, text[2:-2].replace(f"}},{innermost}{{", f"{inner}}},{inner}{{{innermost}"), inner, "}"


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
