"""Finds the queries of `sql/`: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(name: str) -> Path:
    """Return one of the project's top-level data folders (`sql`, `recipes`, `sample_reports`)."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


@cache
def query_text(subject: str) -> str:
    """Return the text of `sql/<subject>.sql`."""
    return (data_folder("sql") / f"{subject}.sql").read_text(encoding="utf-8")


@cache
def sorted_query(subject: str) -> str:
    """Return the query of `sql/<subject>.sql`, wrapped by `sql/in_order_of_time.sql` to sort its rows by time."""
    rows = query_text(subject).rstrip().removesuffix(";")
    return query_text("in_order_of_time").replace("\n:rows\n", f"\n{rows}\n")
