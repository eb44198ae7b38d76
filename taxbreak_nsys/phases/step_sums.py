"""Requests and tokens of a phase by its marks, and the phase's times per request and per token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource, StepCounts
from taxbreak_nsys.phases.instances import Instances


def step_counts(
    instances: Instances, which: Flags, figures_ns: Mapping[str, int | None], kernels: int | None, launches: int
) -> StepCounts | None:
    """Return the sums of the instances' counts, with `figures_ns` divided by requests and by tokens (rounded down).

    `figures_ns`, `kernels` (None where the report does not have all of them) and `launches` (kernel and graph launches)
    are sums over the same instances. A count is None where the mark of one instance does not say it; the result is None
    where no mark says any count.
    """
    counts = instances.counts[which]
    if not len(counts) or not np.any(counts != UNKNOWN):
        return None
    known = ~np.any(counts == UNKNOWN, axis=0)
    total = {
        name: int(total) if is_known else None
        for name, total, is_known in zip(COUNTS, counts.sum(axis=0).tolist(), known.tolist(), strict=True)
    }

    def each(count: int | None) -> dict[str, int | None] | None:
        if not count:
            return None
        return {name: None if ns is None else ns // count for name, ns in figures_ns.items()}

    tokens = total["tokens"]
    return StepCounts(
        **total,
        per_request_ns=each(total["requests"]),
        per_token_ns=each(tokens),
        kernels_per_token=kernels / tokens if tokens and kernels is not None else None,
        launches_per_token=launches / tokens if tokens else None,
    )


def main_source(instances: Instances, which: Flags) -> PhaseSource:
    """Return the source of most of the flagged instances; on a tie the first in `sources`."""
    codes = np.bincount(instances.source[which], minlength=len(instances.sources))
    return instances.sources[int(np.argmax(codes))]
