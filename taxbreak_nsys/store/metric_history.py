"""History of a metric over the captures in a store: change points, and captures that are not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib import import_module
from itertools import pairwise
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
    """Return {metric name: (column, whether it is a sum over steps)} of the metrics that the store holds."""
    columns: dict[str, tuple[Column[Any], bool]] = {}
    for name, metric in BY_NAME.items():
        column = phases.c.get(metric.path.removeprefix("taxbreak.").replace(".", "_"))
        if column is not None:
            columns[name] = column, metric.summed
    return columns


COLUMNS = _columns()
"""The metrics with a history, by the names in `metric_names`."""

CONDITIONS = ("GPU", "CPU", "nsys version", "traced", "model")
"""Conditions that must be equal for two captures to be comparable, in the order of `MetricPoint.conditions`."""

_MIN_SIDE = 3
_PENALTY = 3.0


@dataclass(frozen=True)
class MetricPoint:
    """The metric's value in one report, None where it was not measured; `moment` is the report's time (UTC).

    `conditions` are the values of `CONDITIONS`, each None where the report does not state it.
    """

    moment: datetime
    report: str
    value: float | int | None
    conditions: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Series:
    """The points of one phase and one combination of the keys, in order of time.

    `changes` are the indices of points that begin a new level; None if the library that finds them is not installed.
    `breaks` maps the index of a point that is not comparable with its predecessor to the difference; changes are only
    searched between breaks.
    """

    phase: str
    by: tuple[str | None, ...]
    points: tuple[MetricPoint, ...]
    changes: tuple[int, ...] | None
    breaks: Mapping[int, str] = field(default_factory=dict)

    @property
    def values(self) -> list[float | int | None]:
        """The metric's values in order of time."""
        return [point.value for point in self.points]


def check_metric(metric: str) -> None:
    """Raise TaxbreakError for an unknown metric, or a per-step metric that is not a sum over steps."""
    column = COLUMNS.get(metric.removesuffix(PER_STEP))
    if column is None:
        known = ", ".join(name for name in COLUMNS if "." not in name)
        raise TaxbreakError(f"--metric {metric!r}: not one of {known}, or a sum of these with {PER_STEP} behind it")
    if metric.endswith(PER_STEP) and not column[1]:
        raise TaxbreakError(f"--metric {metric!r}: {metric.removesuffix(PER_STEP)} is not a sum over steps")


def trends(store: Store, metric: str, phase: str | None, by: Sequence[str]) -> tuple[list[Series], int]:
    """Return one series per phase (or of `phase` only) and combination of the tags or facts `by`, and a count.

    A report's time is its tag `date` (20260131, 2026-01-31), or else the time of capture. The count is the number of
    values left out because their report has neither.
    """
    check_metric(metric)
    column, _ = COLUMNS[metric.removesuffix(PER_STEP)]
    wanted = (
        select(
            phases.c.phase, reports.c.path, reports.c.captured_at, tag_or_fact("date"), phases.c.instances, column,
            reports.c.gpu, reports.c.cpu, reports.c.nsys_version, reports.c.traced, tag_or_fact("model"),
            *(tag_or_fact(key) for key in by),
        )
        .join(reports, reports.c.id == phases.c.report_id)
        .where(phases.c.whole_label)
    )  # fmt: skip
    if phase is not None:
        wanted = wanted.where(phases.c.phase == phase)
    groups: dict[tuple[Any, ...], list[MetricPoint]] = {}
    undated = 0
    with store.begin() as connection:
        for label, path, captured, day, instances, value, *rest in connection.execute(wanted):
            conditions, keys = tuple(rest[: len(CONDITIONS)]), rest[len(CONDITIONS) :]
            moment = captured_moment(day, captured)
            if moment is None:
                undated += 1
                continue
            if metric.endswith(PER_STEP) and value is not None:
                value = value / instances if instances else None
            groups.setdefault((label, tuple(keys)), []).append(MetricPoint(moment, path, value, conditions))
    series = []
    for (label, keys), points in sorted(groups.items(), key=lambda item: (item[0][0], [k or "" for k in item[0][1]])):
        ordered = tuple(sorted(points, key=lambda point: (point.moment, point.report)))
        differences = breaks(ordered)
        changes = _changes(ordered, differences)
        series.append(Series(phase=label, by=keys, points=ordered, changes=changes, breaks=differences))
    return series, undated


def breaks(points: Sequence[MetricPoint]) -> dict[int, str]:
    """Return {index: difference} of the points whose capture conditions differ from the last known ones.

    A condition that a report does not state counts as unchanged.
    """
    differences: dict[int, str] = {}
    known: dict[str, str] = {}
    for index, point in enumerate(points):
        stated = {name: value for name, value in zip(CONDITIONS, point.conditions, strict=False) if value}
        differs = [
            f"{name} {known[name]} against {value}" for name, value in stated.items() if known.get(name, value) != value
        ]
        if differs:
            differences[index] = "; ".join(differs)
        known |= stated
    return differences


def _changes(points: Sequence[MetricPoint], differences: Mapping[int, str]) -> tuple[int, ...] | None:
    """Return the indices of level changes within each run of comparable captures; None without the library."""
    indices: list[int] = []
    for low, high in pairwise([0, *differences, len(points)]):
        changes = change_points([point.value for point in points[low:high]])
        if changes is None:
            return None
        indices += [low + index for index in changes]
    return tuple(indices)


def captured_moment(day: str | None, captured: datetime | None) -> datetime | None:
    """Return a report's time (UTC) from its tag `date`, or from the capture if there is no valid tag.

    A tag without a time of day takes it from the capture if both are on the same day. None if both are missing.
    """
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
    """Return the indices of values that begin a new level; None if ruptures is not installed.

    PELT (Killick et al. 2012, through ruptures) with the cost of a piecewise constant mean. The penalty is three times
    the BIC penalty: 3 · 2 σ² ln n, with σ from the median absolute difference of neighbours, which is robust against a
    few level changes. A level is at least three values long. None values are skipped.
    """
    try:
        ruptures: Any = import_module("ruptures")
    except ImportError:
        return None
    index = [i for i, value in enumerate(values) if value is not None]
    measured = np.array([values[i] for i in index], float)
    if len(measured) < 2 * _MIN_SIDE or np.ptp(measured) == 0:
        return ()
    # Scaled to 1, so that the lower bound of sigma is a thousandth of the largest value.
    scaled = measured / np.max(np.abs(measured))
    sigma = max(float(np.median(np.abs(np.diff(scaled)))) / (0.6745 * np.sqrt(2)), 1e-3)
    penalty = _PENALTY * 2 * sigma**2 * np.log(len(measured))
    ends = ruptures.Pelt(model="l2", min_size=_MIN_SIDE, jump=1).fit(scaled).predict(pen=penalty)
    return tuple(index[end] for end in ends[:-1])
