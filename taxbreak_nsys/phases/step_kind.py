"""Name the steps of a model by their kernels: prefill, decode, training step, or just `step` where nothing decides it.

The rules, in order:

1. Steps with backward or optimizer kernels are training steps.
2. Without attention kernels, no step is prefill or decode.
3. Decode is the kind of step with the smallest grids, if there is a sign that it works on one token per sequence:
   matrix-vector products or equally small tiles, a normalisation of one row, an attention kernel for one query row, or
   a kind with much larger grids before it.
4. A kind whose grids are MIN_GROWTH times as large as in decode, and not only because of a larger batch, is prefill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.phases.engine_marks import STEP

MIN_GROWTH = 2.0
"""The least ratio of a prefill step's thread blocks to a decode step's, over the kernels that both have."""

MIN_CALL_GROWTH = 1.2
"""The same ratio for calls of one compiled function: smaller, because the order of the calls is a sign as well."""

SMALL_TILE = 16
"""The largest tile size, in tokens, of a matrix product made for decode."""

_ATTENTION = re.compile(r"attention|attn|fmha|flash|sdpa|mqa|mla_|_mha|paged", re.IGNORECASE)
_NOT_ATTENTION = re.compile(
    r"combine|prepare|reduce|merge|rotary|rope|backward|bwd|cache_kernel|reshape_and_cache|convert|schedul|metadata|norm",
    re.IGNORECASE,
)
_FLASH_FORWARD = re.compile(r"FlashAttnFwd(?!Combine)")
"""FlashAttention 3: its template arguments contain words of `_NOT_ATTENTION`, such as the name of its scheduler."""
_WEAK_ATTENTION = re.compile(r"(?<!log_)softmax", re.IGNORECASE)
_TRAINING = re.compile(r"backward|_bwd|\bbwd|adam|multi_tensor_apply|optimizer", re.IGNORECASE)
_ONE_QUERY = re.compile(r"split_?kv|decode|paged_attention|mmha|xqa|masked_multihead", re.IGNORECASE)
_VECTOR = re.compile(r"gemv", re.IGNORECASE)
_PRODUCT = re.compile(r"gemm|gemv|nvjet|cutlass|xmma", re.IGNORECASE)
_TILE = re.compile(r"nvjet_\w*?_(\d+)x(\d+)_")
_ROWS = re.compile(r"layer_?norm|rms_?norm", re.IGNORECASE)


def is_attention(names: tuple[str, ...], seen: Ints) -> Flags:
    """Return a flag per name: whether it is an attention kernel's and its code is in `seen`.

    Where no name says attention, softmax kernels count as attention kernels.
    """
    present = {int(code) for code in seen}

    def flags(pattern: re.Pattern[str]) -> Flags:
        return np.array([k in present and _matches(pattern, name) for k, name in enumerate(names)], bool)

    strong = flags(_ATTENTION)
    return strong if strong.any() else flags(_WEAK_ATTENTION)


def _matches(pattern: re.Pattern[str], name: str) -> bool:
    """Return whether a pattern finds an attention kernel's name, not a helper's (rotary embedding, cache, combine)."""
    return bool(_FLASH_FORWARD.search(name) or (pattern.search(name) and not _NOT_ATTENTION.search(name)))


@dataclass(frozen=True)
class Kind:
    """The kernels of all steps of one kind.

    `name` has the codes of the kernels' names, `kernels` the number of kernels of each name, `blocks` the sum of their
    thread blocks. `steps` is the number of steps, `first` the index of the first step's first launch. `graph` says
    that the steps launch CUDA graphs, `hidden` that the report lacks the kernels of some graphs. `read` is the median
    size of a step's last copy to the host, bytes; 0 without such a copy.
    """

    name: Ints
    kernels: Ints
    blocks: NDArray[np.float64]
    steps: int
    first: int
    graph: bool
    hidden: bool
    read: int


def name_kinds(
    kinds: list[Kind], names: tuple[str, ...], *, attends: bool, one_function: bool = False
) -> tuple[list[str], str]:
    """Return a label for each kind of step, and the evidence as a phrase.

    `attends` says that the thread launches attention kernels, `one_function` that the marks of the steps are calls of
    one function.
    """
    labels, evidence = _name_by_names(kinds, names, attends=attends)
    return _name_calls(kinds) if one_function and set(labels) == {STEP} else (labels, evidence)


def _name_by_names(kinds: list[Kind], names: tuple[str, ...], *, attends: bool) -> tuple[list[str], str]:
    """Return the labels by the names and grids of the kernels (rules 1 to 4 of this module), and the evidence."""
    if any(_TRAINING.search(names[code]) for kind in kinds for code in kind.name):
        return ["training_step"] * len(kinds), "backward or optimizer kernels"
    if not attends:
        return [STEP] * len(kinds), "no attention kernels, so neither prefill nor decode"
    visible = [k for k, kind in enumerate(kinds) if len(kind.name) and not kind.hidden]
    if not visible:
        return [STEP] * len(kinds), "the kernels of graph launches are not in the report"
    size = {k: value for k in visible if (value := _growth(kinds[k], kinds[visible[0]])) is not None}
    if not size:
        return [STEP] * len(kinds), "the report does not hold the kernels' grids"
    smallest = min(size, key=lambda k: (size[k], -kinds[k].steps))
    base = kinds[smallest]
    prefill = {k: _is_prefill(kinds[k], base, names) for k in visible}
    larger = [k for k in visible if prefill[k]]
    signs = _signs_of_decode(base, names)
    if not signs and base.steps > 1 and any(kinds[k].first < base.first for k in larger):
        signs = ["they follow steps with larger grids"]
    if not signs:
        return [STEP] * len(kinds), "no sign that a step works on one token per sequence"
    name = {True: "prefill", False: "decode", None: STEP}
    labels = [name[prefill[k]] if k in prefill else STEP for k in range(len(kinds))]
    evidence = "decode: " + ", ".join(signs)
    if larger:
        times = min(_growth(kinds[k], base) or 0 for k in larger)
        evidence += f"; prefill: grids {times:.1f} times as large as in decode, over the kernels that both have"
    if any(kind.hidden for kind in kinds):
        evidence += "; the kernels of some graph launches are not in the report, so kernels do not name their steps"
    return _mark_graph_steps(labels, kinds), evidence


def _name_calls(kinds: list[Kind]) -> tuple[list[str], str]:
    """Return labels for calls of one function that XLA compiled: its kernels' names do not say what they compute.

    Decode is the kind with the most calls. A kind with fewer calls that begins before decode is prefill if its grids
    are at least MIN_CALL_GROWTH times as large as in decode, over the kernels that both have.
    """
    unknown = [STEP] * len(kinds), "no sign which calls of the function are prefill or decode"
    visible = [k for k, kind in enumerate(kinds) if len(kind.name) and not kind.hidden]
    if not visible:
        return unknown
    decode = max(visible, key=lambda k: kinds[k].steps)
    base = kinds[decode]
    growth = {
        k: times
        for k in visible
        if kinds[k].steps < base.steps and kinds[k].first < base.first
        if (times := _growth(kinds[k], base)) is not None and times >= MIN_CALL_GROWTH
    }
    if base.steps < 2 or not growth:
        return unknown
    labels = ["prefill" if k in growth else "decode" if k == decode else STEP for k in range(len(kinds))]
    return labels, (
        f"decode: the {base.steps} calls that repeat; prefill: called before decode, with grids "
        f"{min(growth.values()):.1f} times as large over the kernels that both have"
    )


def _mark_graph_steps(labels: list[str], kinds: list[Kind]) -> list[str]:
    """Return the labels, with `_graph` added to kinds that launch graphs where a kind of the same label does not."""
    eager = {label for label, kind in zip(labels, kinds, strict=True) if not kind.graph}
    return [
        f"{label}_graph" if kind.graph and label in eager else label for label, kind in zip(labels, kinds, strict=True)
    ]


def _growth(kind: Kind, base: Kind) -> float | None:
    """Return how many times as large as those of `base` the grids of a kind are; None where they share no kernel.

    This is the geometric mean of the ratios of thread blocks per launch, over the kernels that both kinds have,
    weighted by the launches per step: most kernels of a model run once per layer, with blocks in proportion to the
    tokens.
    """
    _, own, other = np.intersect1d(kind.name, base.name, return_indices=True)
    known = (kind.blocks[own] > 0) & (base.blocks[other] > 0)
    own, other = own[known], other[known]
    if not len(own):
        return None
    ratio = (kind.blocks[own] / kind.kernels[own]) / (base.blocks[other] / base.kernels[other])
    launches_per_step = np.minimum(kind.kernels[own] / kind.steps, base.kernels[other] / base.steps)
    return float(np.exp(np.average(np.log(ratio), weights=launches_per_step)))


def _is_prefill(kind: Kind, base: Kind, names: tuple[str, ...]) -> bool | None:
    """Return whether a kind works on more tokens per sequence than `base`, and not just on more sequences.

    None where the report does not decide it.
    """
    growth = _growth(kind, base)
    if growth is None:
        return None
    if growth < MIN_GROWTH:
        return False
    if kind.read and base.read:
        # Each sequence reads back one token, so the ratio of the bytes read is the ratio of the batch sizes.
        return growth / (kind.read / base.read) >= MIN_GROWTH
    return True if _attention_names(kind, names) != _attention_names(base, names) else None


def _attention_names(kind: Kind, names: tuple[str, ...]) -> set[int]:
    return {int(code) for code in kind.name if _matches(_ATTENTION, names[code])}


def _signs_of_decode(kind: Kind, names: tuple[str, ...]) -> list[str]:
    """Return the signs, as phrases, that a kind of step works on one token per sequence."""
    signs = []
    products = [(names[c], n) for c, n in zip(kind.name.tolist(), kind.kernels.tolist(), strict=True)]
    products = [(name, n) for name, n in products if _PRODUCT.search(name)]
    small_products = sum(n for name, n in products if _VECTOR.search(name) or _tile(name) <= SMALL_TILE)
    if products and 2 * small_products > sum(n for _, n in products):
        signs.append(f"most matrix products are made for at most {SMALL_TILE} tokens")
    rows = [b / n for c, n, b in zip(kind.name, kind.kernels, kind.blocks, strict=True) if b and _ROWS.search(names[c])]
    if rows and min(rows) <= 1:
        signs.append("normalisations of one row")
    if any(_ONE_QUERY.search(names[code]) for code in kind.name if _ATTENTION.search(names[code])):
        signs.append("attention kernels of one query row")
    return signs


def _tile(name: str) -> int:
    """Return the shorter side of a matrix product's tile, by its name; very large where the name has no tile."""
    match = _TILE.search(name)
    return min(int(match[1]), int(match[2])) if match else 1 << 30
