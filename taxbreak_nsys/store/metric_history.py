"""How a figure of a phase moved over the captures of a store, and since when it is another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Column, select

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.metric_names import BY_NAME, PER_STEP
from taxbreak_nsys.store.models import phases, reports
from taxbreak_nsys.store.store_queries import tag_or_fact

if TYPE_CHECKING:
    from taxbreak_nsys.store.store_opening import Store


def _columns() -> dict[str, tuple[Column[Any], bool]]:
    """Return the column of each name, and whether it is a sum over the steps: the metrics that the store holds."""
    columns: dict[str, tuple[Column[Any], bool]] = {}
    for name, metric in BY_NAME.items():
        column = phases.c.get(metric.path.removeprefix("taxbreak.").replace(".", "_"))
        if column is not None:
            columns[name] = column, metric.summed
    return columns


COLUMNS = _columns()
"""The metrics that can be followed, by the names of `metric_names`."""

_MIN_SIDE = 3
_PENALTY = 3.0


@dataclass(frozen=True)
class MetricPoint:
    """A figure of one report: `moment` (UTC), and None where it was not measured."""

    moment: datetime
    report: str
    value: float | int | None


@dataclass(frozen=True)
class Series:
    """The points of one phase and one value of each key, in order of time.

    `changes` are indices of points that begin a new level; None where there is no library to find them.
    """

    phase: str
    by: tuple[str | None, ...]
    points: tuple[MetricPoint, ...]
    changes: tuple[int, ...] | None

    @property
    def values(self) -> list[float | int | None]:
        """The figures in order of time."""
        return [point.value for point in self.points]


def check_metric(metric: str) -> None:
    """Raise TaxbreakError where there is no such metric, or no such metric per step."""
    column = COLUMNS.get(metric.removesuffix(PER_STEP))
    if column is None:
        known = ", ".join(name for name in COLUMNS if "." not in name)
        raise TaxbreakError(f"--metric {metric!r}: not one of {known}, or a sum of these with {PER_STEP} behind it")
    if metric.endswith(PER_STEP) and not column[1]:
        raise TaxbreakError(f"--metric {metric!r}: {metric.removesuffix(PER_STEP)} is not a sum over steps")


def trends(store: Store, metric: str, phase: str | None, by: Sequence[str]) -> tuple[list[Series], int]:
    """Return a series a phase (or the one chosen) and combination of the tags or facts `by`.

    A report's time is its tag `date` (20260131, 2026-01-31), else when it was captured. Returns as well how many
    figures were left out because their report has neither.
    """
    check_metric(metric)
    column, _ = COLUMNS[metric.removesuffix(PER_STEP)]
    wanted = (
        select(
            phases.c.phase, reports.c.path, reports.c.captured_at, tag_or_fact("date"), phases.c.instances, column,
            *(tag_or_fact(key) for key in by),
        )
        .join(reports, reports.c.id == phases.c.report_id)
        .where(phases.c.whole_label)
    )  # fmt: skip
    if phase is not None:
        wanted = wanted.where(phases.c.phase == phase)
    found: dict[tuple[Any, ...], list[MetricPoint]] = {}
    undated = 0
    with store.begin() as connection:
        for label, path, captured, day, instances, value, *keys in connection.execute(wanted):
            moment = captured_moment(day, captured)
            if moment is None:
                undated += 1
                continue
            if metric.endswith(PER_STEP) and value is not None:
                value = value / instances if instances else None
            found.setdefault((label, tuple(keys)), []).append(MetricPoint(moment, path, value))
    series = []
    for (label, keys), points in sorted(found.items(), key=lambda item: (item[0][0], [k or "" for k in item[0][1]])):
        ordered = tuple(sorted(points, key=lambda point: (point.moment, point.report)))
        series.append(Series(label, keys, ordered, change_points([point.value for point in ordered])))
    return series, undated


def captured_moment(day: str | None, captured: datetime | None) -> datetime | None:
    """Return a report's time: its tag `date`, on the time of day of the capture where that is the same day."""
    if day is None:
        return captured
    try:
        tagged = date.fromisoformat(day)
    except ValueError:
        try:
            moment = datetime.fromisoformat(day)
        except ValueError:
            return captured
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    if captured is not None and captured.date() == tagged:
        return captured
    return datetime(tagged.year, tagged.month, tagged.day)


def change_points(values: Sequence[float | int | None]) -> tuple[int, ...] | None:
    """Return the indices of values that begin a new level; None without the library that finds them.

    PELT (Killick et al. 2012, through ruptures) with the cost of a piecewise constant mean. The penalty is that of
    BIC, three times: 3 · 2 σ² ln n, with σ from the median absolute difference of neighbours, which a few steps do
    not move. A level is at least three values long. What was not measured is passed over.
    """
    try:
        ruptures: Any = import_module("ruptures")
    except ImportError:
        return None
    index = [i for i, value in enumerate(values) if value is not None]
    held = np.array([values[i] for i in index], float)
    if len(held) < 2 * _MIN_SIDE or np.ptp(held) == 0:
        return ()
    # scaled, so that the smallest noise that counts is a thousandth of the figure
    scaled = held / np.max(np.abs(held))
    sigma = max(float(np.median(np.abs(np.diff(scaled)))) / (0.6745 * np.sqrt(2)), 1e-3)
    penalty = _PENALTY * 2 * sigma**2 * np.log(len(held))
    found = ruptures.Pelt(model="l2", min_size=_MIN_SIDE, jump=1).fit(scaled).predict(pen=penalty)
    return tuple(index[end] for end in found[:-1])
