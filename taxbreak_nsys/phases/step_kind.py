"""What a step is, by its kernels: prefill, decode, training, or nothing that can be told.

The rule, in order. Steps with backward or optimizer kernels are training. Without attention kernels nothing is
prefill or decode. Decode is the kind of step with the smallest grids, if something says that it works on one
token a sequence: matrix-vector products or tiles that small, a normalisation of few rows, an attention kernel
made for it, or a kind with much larger grids that is followed by several of it. What has grids MIN_GROWTH times
those of decode, beyond what a larger batch explains, is prefill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.phases.engine_marks import STEP

MIN_GROWTH = 2.0
"""Thread blocks of a prefill step over those of a decode step, in the kernels that both have."""

MIN_CALL_GROWTH = 1.2
"""The same for calls of one compiled function, where the order of the calls says the rest."""

SMALL_TILE = 16
"""Tokens of a matrix product whose tile is made for decode."""

_ATTENTION = re.compile(r"attention|attn|fmha|flash|sdpa|mqa|mla_|_mha|paged", re.IGNORECASE)
_NOT_ATTENTION = re.compile(
    r"combine|prepare|reduce|merge|rotary|rope|backward|bwd|cache_kernel|reshape_and_cache|convert|schedul|metadata|norm",
    re.IGNORECASE,
)
_FLASH_FORWARD = re.compile(r"FlashAttnFwd(?!Combine)")
"""FlashAttention 3: its template arguments name schedulers and converters, which are no kernels of their own."""
_WEAK_ATTENTION = re.compile(r"(?<!log_)softmax", re.IGNORECASE)
_TRAINING = re.compile(r"backward|_bwd|\bbwd|adam|multi_tensor_apply|optimizer", re.IGNORECASE)
_ONE_QUERY = re.compile(r"split_?kv|decode|paged_attention|mmha|xqa|masked_multihead", re.IGNORECASE)
_VECTOR = re.compile(r"gemv", re.IGNORECASE)
_PRODUCT = re.compile(r"gemm|gemv|nvjet|cutlass|xmma", re.IGNORECASE)
_TILE = re.compile(r"nvjet_\w*?_(\d+)x(\d+)_")
_ROWS = re.compile(r"layer_?norm|rms_?norm", re.IGNORECASE)


def is_attention(names: tuple[str, ...], seen: Ints) -> Flags:
    """Flag the names of attention kernels among those `seen`: kernels made for it, or else softmax."""
    present = {int(code) for code in seen}

    def flags(pattern: re.Pattern[str]) -> Flags:
        return np.array([k in present and _matches(pattern, name) for k, name in enumerate(names)], bool)

    strong = flags(_ATTENTION)
    return strong if strong.any() else flags(_WEAK_ATTENTION)


def _matches(pattern: re.Pattern[str], name: str) -> bool:
    """Return whether a name is that of an attention kernel by a pattern, not of a kernel that works for one."""
    return bool(_FLASH_FORWARD.search(name) or (pattern.search(name) and not _NOT_ATTENTION.search(name)))


@dataclass(frozen=True)
class Kind:
    """The kernels of one kind of step: codes of their names with how many and the sum of their thread blocks a
    step; `steps` counts them, `first` is where the first stands; `graph` says that it launches graphs; `hidden`
    that kernels of it are not in the report; `read` is the size of the last copy to the host in a step, bytes,
    0 without one.
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
    """Return a label for each kind of step, and the evidence in words.

    `one_function` says that the steps are marked as calls of one function.
    """
    labels, evidence = _name_by_names(kinds, names, attends=attends)
    return _name_calls(kinds) if one_function and set(labels) == {STEP} else (labels, evidence)


def _name_by_names(kinds: list[Kind], names: tuple[str, ...], *, attends: bool) -> tuple[list[str], str]:
    """Return labels by what the kernels' names and grids say, and the evidence."""
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
        return [STEP] * len(kinds), "nothing says that a step works on one token a sequence"
    of = {True: "prefill", False: "decode", None: STEP}
    labels = [of[prefill[k]] if k in prefill else STEP for k in range(len(kinds))]
    evidence = "decode: " + ", ".join(signs)
    if larger:
        times = min(_growth(kinds[k], base) or 0 for k in larger)
        evidence += f"; prefill: grids {times:.1f} times those of decode in the kernels that both have"
    if any(kind.hidden for kind in kinds):
        evidence += "; some graph launches' kernels are not in the report, so their steps have no better name"
    return _tell_graphs_apart(labels, kinds), evidence


def _name_calls(kinds: list[Kind]) -> tuple[list[str], str]:
    """Return labels for calls of one function whose kernels' names do not say what they do (compiled by XLA).

    Decode is the kind that is called most often. A kind that is called before it, less often, and whose grids are
    MIN_CALL_GROWTH times those of decode in the kernels that both have, is prefill.
    """
    unknown = [STEP] * len(kinds), "nothing says which calls of the function are prefill or decode"
    shown = [k for k, kind in enumerate(kinds) if len(kind.name) and not kind.hidden]
    if not shown:
        return unknown
    decode = max(shown, key=lambda k: kinds[k].steps)
    base = kinds[decode]
    growth = {
        k: times
        for k in shown
        if kinds[k].steps < base.steps and kinds[k].first < base.first
        if (times := _growth(kinds[k], base)) is not None and times >= MIN_CALL_GROWTH
    }
    if base.steps < 2 or not growth:
        return unknown
    labels = ["prefill" if k in growth else "decode" if k == decode else STEP for k in range(len(kinds))]
    return labels, (
        f"decode: the {base.steps} calls that repeat; prefill: called before them, grids {min(growth.values()):.1f} "
        "times theirs in the kernels that both have"
    )


def _tell_graphs_apart(labels: list[str], kinds: list[Kind]) -> list[str]:
    """Add `_graph` to what launches graphs where steps of the same label do not."""
    eager = {label for label, kind in zip(labels, kinds, strict=True) if not kind.graph}
    return [
        f"{label}_graph" if kind.graph and label in eager else label for label, kind in zip(labels, kinds, strict=True)
    ]


def _growth(kind: Kind, base: Kind) -> float | None:
    """Return by how much the grids of one kind are larger than another's; None where they share no kernel.

    The geometric mean over the kernels that both have of the thread blocks a launch, each as often as it is in a
    step: a model's kernels are launched once a layer, and most of them have blocks in proportion to the tokens.
    """
    _, mine, theirs = np.intersect1d(kind.name, base.name, return_indices=True)
    known = (kind.blocks[mine] > 0) & (base.blocks[theirs] > 0)
    mine, theirs = mine[known], theirs[known]
    if not len(mine):
        return None
    ratio = (kind.blocks[mine] / kind.kernels[mine]) / (base.blocks[theirs] / base.kernels[theirs])
    often = np.minimum(kind.kernels[mine] / kind.steps, base.kernels[theirs] / base.steps)
    return float(np.exp(np.average(np.log(ratio), weights=often)))


def _is_prefill(kind: Kind, base: Kind, names: tuple[str, ...]) -> bool | None:
    """Tell whether a kind works on more tokens a sequence than `base` does, not on more sequences; None where the
    report does not say.
    """
    growth = _growth(kind, base)
    if growth is None:
        return None
    if growth < MIN_GROWTH:
        return False
    if kind.read and base.read:
        # each sequence reads back one token: what grows with that is the batch
        return growth / (kind.read / base.read) >= MIN_GROWTH
    return True if _attention_names(kind, names) != _attention_names(base, names) else None


def _attention_names(kind: Kind, names: tuple[str, ...]) -> set[int]:
    return {int(code) for code in kind.name if _matches(_ATTENTION, names[code])}


def _signs_of_decode(kind: Kind, names: tuple[str, ...]) -> list[str]:
    """Return what says that a kind of step works on one token a sequence."""
    signs = []
    products = [(names[c], n) for c, n in zip(kind.name.tolist(), kind.kernels.tolist(), strict=True)]
    products = [(name, n) for name, n in products if _PRODUCT.search(name)]
    small = sum(n for name, n in products if _VECTOR.search(name) or _tile(name) <= SMALL_TILE)
    if products and 2 * small > sum(n for _, n in products):
        signs.append(f"most matrix products are made for at most {SMALL_TILE} tokens")
    rows = [b / n for c, n, b in zip(kind.name, kind.kernels, kind.blocks, strict=True) if b and _ROWS.search(names[c])]
    if rows and min(rows) <= 1:
        signs.append("normalisations of one row")
    if any(_ONE_QUERY.search(names[code]) for code in kind.name if _ATTENTION.search(names[code])):
        signs.append("attention kernels of one query row")
    return signs


def _tile(name: str) -> int:
    match = _TILE.search(name)
    return min(int(match[1]), int(match[2])) if match else 1 << 30
