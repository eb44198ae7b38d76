"""JSON that every parser accepts: NaN and infinities become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Return JSON without a line end; NaN and infinities become null, bytes hex digits, other objects their `str`."""
    try:
        return _indented(data, indent, "\n") if indent else _dumped(data)
    except ValueError:
        finite = _finite(data)
        return _indented(finite, indent, "\n") if indent else _dumped(finite)


def json_document(data: Any) -> str:
    """Return indented JSON that ends with a line end."""
    return json_text(data, indent=2) + "\n"


def _dumped(data: Any, separators: tuple[str, str] | None = None) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, default=_plain, separators=separators)


def _indented(data: Any, indent: int, line: str) -> str:
    """Return the text that `json.dumps` returns with `indent`; `line` is a line end and the indent of `data`.

    With an indent, Python's json is a slow encoder in Python. Here its fast one writes all that holds no container.
    """
    if not isinstance(data, (dict, list, tuple)) or not data:
        return _dumped(data)
    inner = line + " " * indent
    values = data.values() if isinstance(data, dict) else data
    if not any(isinstance(value, (dict, list, tuple)) for value in values):
        text = _dumped(data, separators=(f",{inner}", ": "))
        return f"{text[0]}{inner}{text[1:-1]}{line}{text[-1]}"
    if isinstance(data, dict):
        # A key alone is written as json writes it: {"1": 0} for the number 1.
        parts = (f"{_dumped({key: 0})[1:-2]}{_indented(value, indent, inner)}" for key, value in data.items())
        return "{" + inner + f",{inner}".join(parts) + line + "}"
    return "[" + inner + f",{inner}".join(_indented(value, indent, inner) for value in data) + line + "]"


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
