"""How much a metric changed between two sets of instances, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Floats
from taxbreak_nsys.comparison.sample_changes import COMPARED, ComparedMetric, PhaseSamples
from taxbreak_nsys.errors import TaxbreakError

BETTER, WORSE, MORE, LESS = "better", "worse", "more", "less"
NO_DIFFERENCE = "no difference shown"
NO_INTERVAL = "one instance: no interval"
NOT_COMPARABLE = "not comparable"
NOT_JUDGED = "not judged"

CONFIDENCE = 0.95
RESAMPLES = 2000
FEW = 5
"""With fewer instances than this on either side the interval is coarse, and the output says so."""
_SEED = 20260317


@dataclass(frozen=True)
class Change:
    """The change of one metric per step; times in ns. `low` and `high` bound the difference of the medians (95 %).

    `word` is one of: better, worse; more, less (for metrics without a better direction); no difference shown; no
    interval, where a side has a single instance; not comparable, where the metric holds host time and the two sides
    were traced differently; not judged, where intervals were not asked for.
    """

    metric: str
    title: str
    before: float
    after: float
    low: float | None
    high: float | None
    word: str

    @property
    def difference(self) -> float:
        """Return the change of the median."""
        return self.after - self.before

    def share(self, value: float | None) -> float | None:
        """Return a difference as a share of the median before; None where that is 0."""
        return value / self.before if value is not None and self.before else None


def changes(
    before: PhaseSamples, after: PhaseSamples, *, layers_comparable: bool, host_comparable: bool, judged: bool = True
) -> list[Change]:
    """Return the change of every metric that both sides have.

    If the two sides use different evidence (`layers_comparable` is False), framework and library are compared as
    their sum only. Tracing the nodes of CUDA graphs slows the host, so host times are not comparable either where the
    graphs of the two sides were traced differently. Without `judged` there are no intervals,
    which need scipy.
    """
    host_comparable = host_comparable and before.graphs_traced_as(after)
    compared = []
    for metric in COMPARED:
        is_part = metric.name in ("delta_ft_ns", "delta_ct_ns")
        split = layers_comparable and all("delta_ft_ns" in side.values for side in (before, after))
        if (is_part and not split) or (metric.name == "framework_library_ns" and split):
            continue
        if metric.name in before.values and metric.name in after.values:
            old, new = before.values[metric.name], after.values[metric.name]
            if old.any() or new.any():
                compared.append(_change(metric, old, new, host_comparable or not metric.of_host, judged))
    return compared


def _change(metric: ComparedMetric, before: Floats, after: Floats, comparable: bool, judged: bool) -> Change:
    several = len(before) > 1 and len(after) > 1
    bounds = possible_interval(before, after) if several and judged else None
    low, high = bounds or (None, None)
    return Change(
        metric=metric.name,
        title=metric.title,
        before=float(_median(before)),
        after=float(_median(after)),
        low=low,
        high=high,
        word=NOT_JUDGED if comparable and several and not judged else _word(metric, bounds, comparable),
    )


def _word(metric: ComparedMetric, bounds: tuple[float, float] | None, comparable: bool) -> str:
    if not comparable:
        return NOT_COMPARABLE
    if bounds is None:
        return NO_INTERVAL
    low, high = bounds
    if low <= 0 <= high:
        return NO_DIFFERENCE
    sign = 1 if low > 0 else -1
    if not metric.better:
        return MORE if sign > 0 else LESS
    return BETTER if sign == metric.better else WORSE


def _median(values: Floats, axis: int = -1) -> Floats:
    """Return the median as the method defines it: the lower of the two middle values if their number is even."""
    middle = (values.shape[axis] - 1) // 2
    return np.asarray(np.take(np.partition(values, middle, axis=axis), middle, axis=axis))


def interval(before: Floats, after: Floats) -> tuple[float, float]:
    """Return the 95 % interval of median(after) - median(before), by a percentile bootstrap with a fixed seed.

    Raises TaxbreakError where scipy is not installed.
    """

    def difference(one: Floats, other: Floats, axis: int = -1) -> Floats:
        return _median(other, axis) - _median(one, axis)

    return _bootstrap(before, after, difference)


def possible_interval(before: Floats, after: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the change of a metric that is never negative: no bound is a fall below 0.

    The median before varies as well, so the interval of the difference can reach below a fall of 100 %. Then the
    interval is that of the ratio of the medians, times the median before; where a value is 0, and a ratio has no
    meaning, the interval of the difference is cut at 100 %.
    """
    low, high = interval(before, after)
    median = float(_median(before))
    if low >= -median:
        return low, high
    if before.min() > 0:
        low, high = _bootstrap(before, after, lambda one, other, axis=-1: _median(other, axis) / _median(one, axis))
        return median * (low - 1), median * (high - 1)
    return -median, max(high, -median)


def _bootstrap(before: Floats, after: Floats, statistic: Callable[..., Floats]) -> tuple[float, float]:
    try:
        from scipy.stats import bootstrap
    except ImportError as error:
        raise TaxbreakError("diff needs scipy: pip install 'taxbreak-nsys[compare]'") from error

    bounds = bootstrap(
        (before, after), statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile",
        vectorized=True, rng=np.random.default_rng(_SEED),
    ).confidence_interval  # fmt: skip
    return float(bounds.low), float(bounds.high)


def where(compared: list[Change]) -> Change | None:
    """Return the layer that changed most in the direction of the wall time; None where the wall did not change."""
    layers = {metric.name for metric in COMPARED if metric.layer}
    wall = next(change for change in compared if change.metric == "wall_ns").difference
    candidates = [change for change in compared if change.metric in layers and change.difference * wall > 0]
    return max(candidates, key=lambda change: abs(change.difference), default=None)
