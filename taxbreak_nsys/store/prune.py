"""Deletes reports and failures from a results store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Delete, delete, func, select

from taxbreak_nsys.store.models import failures, reports
from taxbreak_nsys.store.records import is_url
from taxbreak_nsys.store.store_opening import Store, store_errors
from taxbreak_nsys.store.store_queries import where_tags

_AT_ONCE = 500


@dataclass(frozen=True)
class Selection:
    """Selects the reports to delete: those that meet all given conditions.

    `older_than` is the age of the capture, or of the analysis where the time of capture is unknown. `gone` selects
    reports whose file on this machine no longer exists; URLs are not checked. `failures` adds all failures.
    """

    older_than: timedelta | None = None
    tags: Mapping[str, str] | None = None
    gone: bool = False
    failures: bool = False

    @property
    def reports(self) -> bool:
        """Whether the selection includes reports, not only failures."""
        return self.older_than is not None or bool(self.tags) or self.gone


def prune_store(store: Store, selection: Selection, *, dry: bool) -> tuple[int, int]:
    """Delete reports with their dependent rows, and failures; return (reports, failures) deleted.

    With `dry`, nothing is deleted and the counts are those of a real run.
    """
    with store.begin() as connection:
        wanted = select(reports.c.id, reports.c.path)
        if selection.older_than is not None:
            oldest = datetime.now(UTC).replace(tzinfo=None) - selection.older_than
            wanted = wanted.where(func.coalesce(reports.c.captured_at, reports.c.analysed_at) < oldest)
        if selection.tags:
            wanted = wanted.where(where_tags(dict(selection.tags)))
        candidates = connection.execute(wanted).all() if selection.reports else []
        ids = [id for id, path in candidates if not selection.gone or not (is_url(path) or os.path.exists(path))]
        failed = 0
        if selection.failures:
            failed = connection.execute(select(func.count()).select_from(failures)).scalar_one()
        if not dry:
            for start in range(0, len(ids), _AT_ONCE):
                connection.execute(_deletion(ids[start : start + _AT_ONCE]))
            if selection.failures:
                connection.execute(delete(failures))
    if not dry and ids and store.engine.dialect.name == "sqlite":
        _vacuum(store)
    return len(ids), failed


def _deletion(ids: list[int]) -> Delete:
    return delete(reports).where(reports.c.id.in_(ids))


def _vacuum(store: Store) -> None:
    """Shrink an SQLite file; PostgreSQL vacuums by itself."""
    with store_errors(store.shown):
        raw = store.engine.raw_connection()
        try:
            raw.cursor().execute("VACUUM")
        finally:
            raw.close()
