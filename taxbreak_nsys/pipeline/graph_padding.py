"""How far the CUDA graphs of a phase are padded: tokens by the marks against slots by the grids of the kernels."""

from __future__ import annotations

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.model.engine_figures import GraphPadding
from taxbreak_nsys.model.kernel_names import base_name
from taxbreak_nsys.model.step_counts import COUNTS
from taxbreak_nsys.totals.totals import Totals

_TOKENS = COUNTS.index("tokens")


def graph_padding(totals: Totals, which: Flags, *, has_nodes: bool) -> tuple[GraphPadding | None, str | None]:
    """Return the padding of the flagged instances and None, or None and the reason why it is not known.

    `has_nodes` says whether the report has kernels of the instances' graphs. A report in which one step contradicts the
    reading shows no padding at all.
    """
    if not has_nodes:
        return None, "the report has no kernels of the graphs; capture with --cuda-graph-trace=node"
    tokens, slots = totals.instances.counts[:, _TOKENS], totals.steps.most_slots
    if not np.any(tokens[which] > 0):
        return None, "the marks of the steps do not give their tokens"
    known = (tokens > 0) & (slots > 0)
    shown = which & known
    if not shown.any():
        return None, "no kernel of the graphs is known to run one block per token"
    kernel = ", ".join(sorted({base_name(name) for name in totals.slot_kernels}))
    contradiction = _contradiction(tokens[known], totals.steps.fewest_slots[known], slots[known], kernel)
    if contradiction:
        return None, contradiction
    return GraphPadding(
        steps=int(shown.sum()),
        padded_steps=int(np.sum(slots[shown] > tokens[shown])),
        tokens=int(tokens[shown].sum()),
        slots=int(slots[shown].sum()),
        kernel=kernel,
    ), None


def _contradiction(tokens: Ints, fewest: Ints, most: Ints, kernel: str) -> str | None:
    """Return why the grids cannot be the slots of the steps; None where they can."""
    if np.any(fewest < most):
        return f"graphs of one step run {kernel} with different grids"
    if np.any(tokens > fewest):
        return f"a step has more tokens than the grid of {kernel} in its graph has blocks"
    return None
