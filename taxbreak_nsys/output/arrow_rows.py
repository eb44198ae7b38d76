"""Rows of plain data as Arrow tables under nsys's column titles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

HEAD_TITLES = {"phase": "Phase", "process": "PID", "thread": "TID"}
"""The columns that say whose a row is."""
