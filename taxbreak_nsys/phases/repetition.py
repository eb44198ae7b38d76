"""Find the steps that a sequence of launches repeats: where each begins and ends, and which are alike.

The functions work on codes alone, so that tests can plant periods. `step_division` has the ways to cut the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.phases.step_division import (
    Launched,
    by_attention,
    by_graphs,
    by_likeness,
    is_one_layer,
    launch_classes,
    segments,
    step_kinds,
    wait_classes,
)

LAYER_DOUBT = 0.5
"""Factor on the confidence where a step looks like one layer and nothing larger repeats."""


@dataclass(frozen=True)
class FoundSteps:
    """Steps as launches `first` to `last` (inclusive), and the `kind` of each: a code that similar steps share."""

    first: Ints
    last: Ints
    kind: Ints


@dataclass(frozen=True)
class Periods(FoundSteps):
    """Steps that repeat.

    `similarity` is the mean likeness of steps whose kind repeats; `coverage` the share of the launches from the first
    step to the last that are in steps; `waited` says that a wait ends each step; `one_layer` that each step may be one
    layer of a model with several attention kernels per layer.
    """

    similarity: float
    coverage: float
    waited: bool
    one_layer: bool = False

    @property
    def confidence(self) -> float:
        """Confidence in the steps, 0 to 1: similarity times coverage, halved for a likely layer (LAYER_DOUBT)."""
        return self.similarity * self.coverage * (LAYER_DOUBT if self.one_layer else 1.0)


def find_periods(launched: Launched) -> Periods | None:
    """Return the steps that the launches repeat; None where no repetition explains most launches."""
    if len(launched) < 2:
        return None
    attends = bool(launched.attention.any())
    waited = True
    division = None
    if attends:
        division = by_attention(launched, wait_classes(launched))
        if division is None:
            division, waited = by_attention(launched, launch_classes(launched)), False
    else:
        division = by_likeness(launched)
    if division is None:
        division, waited, attends = by_graphs(launched), False, False
    if division is None:
        return None
    first, last = segments(division.ends, len(launched))
    first, last = first[division.good], last[division.good]
    kind, alike = step_kinds(launched.shape, first, last)
    known = kind >= 0
    first, last, kind, alike = first[known], last[known], kind[known], alike[known]
    if not len(kind) or np.bincount(kind).max() < 2:
        return None
    # The launches after the last wait are a step only if another step is of their kind.
    if last[-1] == len(launched) - 1 and not launched.ends[-1] and np.sum(kind == kind[-1]) < 2:
        first, last, kind, alike = first[:-1], last[:-1], kind[:-1], alike[:-1]
    if not attends and not division.by_graphs:
        repeated = np.bincount(kind)[kind] > 1
        first, last, kind, alike = first[repeated], last[repeated], kind[repeated], alike[repeated]
    several = np.bincount(kind)[kind] > 1
    inside = last[-1] - first[0] + 1
    return Periods(
        first=first,
        last=last,
        kind=kind,
        similarity=float(alike[several].mean()),
        coverage=float(np.sum(last - first + 1) / inside),
        waited=waited,
        # A host rarely waits in every layer but not at the end of the step: trust segments that end in waits.
        one_layer=attends and not waited and is_one_layer(launched, division),
    )
