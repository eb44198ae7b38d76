"""Indented JSON equals what Python's json writes with an indent."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxbreak_nsys.output.json_text import json_document, json_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text() | st.integers() | st.booleans() | st.none()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=40
)


@settings(max_examples=300)
@given(data=VALUES, indent=st.integers(1, 4))
def test_indented_as_json_does(data: Any, indent: int) -> None:
    assert json_text(data, indent=indent) == json.dumps(data, indent=indent, ensure_ascii=False)


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        [[]],
        {"a": {}},
        (1, (2, [])),
        {"a": [1, {"b": "{}[],:"}]},
        [{"a": 1, "b": "},\n  {"}, {"c": None}],
        [{"a": 1}, {}],
        "x",
        1,
        None,
    ],
)
def test_containers_without_content(data: Any) -> None:
    assert json_document(data) == json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def test_what_json_has_no_word_for() -> None:
    assert json.loads(json_document({"a": [math.nan, {"b": math.inf, "c": b"\x01\xff"}]})) == {
        "a": [None, {"b": None, "c": "01ff"}]
    }
