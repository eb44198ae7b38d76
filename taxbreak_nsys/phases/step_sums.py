"""Requests and tokens of a phase, from what its marks say, and the phase's figures for each of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource, StepCounts
from taxbreak_nsys.phases.instances import Instances


def step_counts(
    instances: Instances, which: Flags, figures_ns: Mapping[str, int | None], kernels: int, launches: int
) -> StepCounts | None:
    """Return the counts of some instances added up, with `figures_ns` divided by them (rounded down).

    `kernels` and `launches` (kernel and graph launches) are those of the same instances.

    A count is null where a mark of one of the instances does not say it; None where none says anything.
    """
    counts = instances.counts[which]
    if not len(counts) or not np.any(counts != UNKNOWN):
        return None
    known = ~np.any(counts == UNKNOWN, axis=0)
    total = {
        name: int(total) if said else None
        for name, total, said in zip(COUNTS, counts.sum(axis=0).tolist(), known.tolist(), strict=True)
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
        kernels_per_token=kernels / tokens if tokens else None,
        launches_per_token=launches / tokens if tokens else None,
    )


def main_source(instances: Instances, which: Flags) -> PhaseSource:
    """Return where some instances come from; of several sources that of the most instances, the first of equals."""
    codes = np.bincount(instances.source[which], minlength=len(instances.sources))
    return instances.sources[int(np.argmax(codes))]
