"""The ways to cut a sequence of launches into steps: after waits, before rare launches, or at CUDA graphs.

A step ends where the host waits for the device or reads from it; the launch before such a wait identifies the waits
that recur with every step. A model repeats layers, steps and requests: the step is the repetition with the same number
of attention kernels every time, because every forward pass runs one or more of them per layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints

MIN_SIMILARITY = 0.7
"""Steps are of one kind if they share at least this part of their launches (multiset overlap over union)."""

MIN_SHARE = 0.8
"""The least share of a thread's segments, and of its launches, that the repetition must explain."""

MIN_LAUNCHES = 8
"""Without attention kernels, a segment with fewer launches and no graph is not a step."""

MIN_ATTENTION = 2
"""With fewer attention kernels, a repeated stretch is a layer, not a step."""

MOST_OF_A_LAYER = 4
"""The most attention kernels of one layer (self attention, cross attention to an encoder or to an image)."""

_STEP_OVER_LAYER = 2
"""The most launches around the ends of a step, as a multiple of the launches between two attention kernels."""

MIN_GRAPHS = 3
"""Fewer launches of one CUDA graph do not count as a repetition."""

_MOST_KINDS = 24
_MOST_SEGMENTS = 20_000


@dataclass(frozen=True)
class Launched:
    """A thread's launches in order, one element per launch.

    `token` is a code of the launched kernel, copy or graph; `shape` a code of the token and its size, which
    distinguishes kinds of steps. `ends` flags launches after which the host waits or reads, `to_host` copies to the
    host. `attention` is the number of attention kernels. `graph` flags graph launches, `hidden` graph launches whose
    kernels are not in the report, `memory` copies and sets.
    """

    token: Ints
    shape: Ints
    ends: Flags
    to_host: Flags
    attention: Ints
    graph: Flags
    hidden: Flags
    memory: Flags

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class Division:
    """A way to cut the launches: after each of `ends`; `good` flags the segments that are whole steps.

    `layers` is the number of attention kernels per step, `explained` the number of launches in whole steps, `share`
    the share of whole steps among the segments that the capture does not cut.
    """

    ends: Ints
    good: Flags
    layers: int
    explained: int
    share: float
    by_graphs: bool = False


def _divide(launched: Launched, before: Ints, hidden: Ints, ends: Ints) -> Division | None:
    """Return the division that cuts after each of `ends`; None where it has fewer than two whole steps.

    `before` and `hidden` are the numbers of attention kernels and of graphs without kernels before each launch. A whole
    step has the most frequent number of attention kernels, or fewer and a graph that may contain the missing ones.
    """
    first, last = segments(ends, len(launched))
    attention, unseen = before[last + 1] - before[first], hidden[last + 1] - hidden[first]
    complete = attention[(attention >= MIN_ATTENTION) & (unseen == 0)]
    if not len(complete):
        return None
    values, counts = np.unique(complete, return_counts=True)
    # On a tie take the larger number: steps cut by the capture have fewer kernels, and both cut ends can tie.
    layers = int(values[counts == counts.max()][-1])
    good = (attention == layers) | ((unseen > 0) & (attention < layers))
    judged = np.ones(len(first), bool)
    # The start and end of the capture may cut a step.
    judged[0], judged[-1] = attention[0] >= layers, attention[-1] >= layers
    if good.sum() < 2 or not judged.any():
        return None
    return Division(
        ends=ends,
        good=good,
        layers=layers,
        explained=int(np.sum((last - first + 1)[good])),
        share=float(good[judged].mean()),
    )


def by_attention(launched: Launched, classes: list[Ints]) -> Division | None:
    """Return the division into most steps in which every step has the same number of attention kernels."""
    before = np.r_[0, np.cumsum(launched.attention)]
    hidden = np.r_[0, np.cumsum(launched.hidden)]
    divisions = [division for ends in classes if len(ends) and (division := _divide(launched, before, hidden, ends))]
    divisions = [division for division in divisions if division.share >= MIN_SHARE]
    if not divisions:
        return None
    most = max(division.explained for division in divisions)
    enough = [division for division in divisions if division.explained >= MIN_SHARE * most]
    best = max(enough, key=lambda division: len(division.ends))
    if is_one_layer(launched, best):
        # A larger repetition of several such layers is the step.
        larger = [other for other in enough if other.layers > best.layers and other.layers % best.layers == 0]
        best = max(larger, key=lambda division: len(division.ends), default=best)
    # Steps of another kind may end with another wait: add the ends that explain more launches.
    for ends in sorted(classes, key=len):
        joined = np.union1d(best.ends, ends)
        finer = _divide(launched, before, hidden, joined) if len(joined) > len(best.ends) else None
        if finer is None or finer.layers != best.layers or finer.share < best.share:
            continue
        if (finer.explained, finer.good.sum()) > (best.explained, best.good.sum()):
            best = finer
    return best


def is_one_layer(launched: Launched, division: Division) -> bool:
    """Return whether the steps of a division look like one layer with several attention kernels.

    A step repeats its layer: the launches between its attention kernels are alike, and occur once more around its
    ends, next to the launches that begin and end a step. In a layer of self and cross attention they differ, because
    the feed-forward part follows only the last attention kernel.
    """
    first, last = segments(division.ends, len(launched))
    first, last = first[division.good], last[division.good]
    middle = len(first) // 2
    low, high = int(first[middle]), int(last[middle])
    at = low + np.flatnonzero(launched.attention[low : high + 1])
    if not MIN_ATTENTION <= len(at) <= MOST_OF_A_LAYER:
        return False
    token = launched.token
    _, code = np.unique(token[low : high + 1], return_inverse=True)
    width = int(code.max()) + 1
    between = [np.bincount(code[a + 1 - low : b - low], minlength=width) for a, b in pairwise(at.tolist())]
    around = np.bincount(np.r_[code[at[-1] + 1 - low :], code[: at[0] - low]], minlength=width)
    layer = between[0]
    alike = all(
        np.minimum(layer, other).sum() >= MIN_SIMILARITY * np.maximum(layer, other).sum() for other in between[1:]
    )
    again = np.minimum(layer, around).sum() >= MIN_SIMILARITY * layer.sum()
    # A whole step has few launches around its ends beyond one layer's; a feed-forward part would add many.
    return not (alike and again and _STEP_OVER_LAYER * layer.sum() >= around.sum())


def by_likeness(launched: Launched) -> Division | None:
    """Return the division into most steps in which most launches lie in segments that repeat."""
    graphs = np.r_[0, np.cumsum(launched.graph)]
    for ends in sorted(wait_classes(launched), key=len, reverse=True):
        first, last = segments(ends, len(launched))
        size = last - first + 1
        small = (size < MIN_LAUNCHES) & (graphs[last + 1] == graphs[first])
        if len(ends) < 2 or small[:-1].any():
            continue
        kind, _ = step_kinds(launched.token, first, last)
        repeated = (kind >= 0) & (np.bincount(kind + 1)[kind + 1] > 1)
        if size[repeated].sum() >= MIN_SHARE * size.sum():
            explained = int(size[repeated].sum())
            return Division(ends=ends, good=repeated, layers=0, explained=explained, share=explained / int(size.sum()))
    return None


def by_graphs(launched: Launched) -> Division | None:
    """Return the steps of a program that launches most work as one CUDA graph per step (JAX, XLA).

    A step begins with its graph. At least half of the graph launches must be of graphs with MIN_GRAPHS launches.
    """
    at = np.flatnonzero(launched.graph)
    if len(at) < MIN_GRAPHS or 2 * len(at) < int(np.sum(~launched.memory)):
        return None
    _, place, count = np.unique(launched.token[at], return_inverse=True, return_counts=True)
    again = int(np.sum(count[place] >= MIN_GRAPHS))
    if 2 * again < len(at):
        return None
    ends = at[at > 0] - 1
    first, last = segments(ends, len(launched))
    good = launched.graph[first]
    explained = int(np.sum((last - first + 1)[good]))
    share = float(again / len(at))
    return Division(ends=ends, good=good, layers=0, explained=explained, share=share, by_graphs=True)


def segments(ends: Ints, count: int) -> tuple[Ints, Ints]:
    """Return (first, last) launch of the segments of `count` launches that are cut after each of `ends`."""
    first = np.r_[0, ends + 1]
    last = np.r_[ends, count - 1]
    keep = first <= last
    return first[keep], last[keep]


def wait_classes(launched: Launched) -> list[Ints]:
    """Return the launches after which a step may end, grouped by the kernel before the wait and the sort of wait."""
    at = np.flatnonzero(launched.ends)
    if not len(at):
        return []
    # Several reads in a row are one wait: only the last of them can end a step.
    following = np.minimum(at + 1, len(launched) - 1)
    again = launched.memory[following] & launched.ends[following] & (following > at)
    at = at[~again]
    kernel = np.maximum.accumulate(np.where(launched.memory, -1, np.arange(len(launched))))[at]
    key = np.where(kernel >= 0, launched.token[np.maximum(kernel, 0)], -1) * 2 + launched.to_host[at]
    return _together(key, at)


def launch_classes(launched: Launched) -> list[Ints]:
    """Return, per rarely launched token, the launches before it: step ends where the host does not wait."""
    at_most = int(launched.attention.sum()) // MIN_ATTENTION
    places = [at for at in _together(launched.token, np.arange(len(launched))) if 2 <= len(at) <= at_most]
    places.sort(key=lambda at: int(at[0]))
    return [at[at > 0] - 1 for at in places]


def _together(key: Ints, place: Ints) -> list[Ints]:
    """Return the places of each key, one array per key."""
    order = np.argsort(key, kind="stable")
    return np.split(place[order], np.flatnonzero(np.diff(key[order])) + 1)


def step_kinds(token: Ints, first: Ints, last: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Return the kind of each segment (-1: too many kinds) and its likeness, 0 to 1, to the first segment of the kind.

    Segments are compared as multisets of tokens: order does not count, and a few kernels more or less hardly do.
    """
    kind = np.full(len(first), -1, np.int64)
    alike = np.zeros(len(first))
    if not len(first) or len(first) > _MOST_SEGMENTS:
        return kind, alike
    _, code = np.unique(token, return_inverse=True)
    width = int(code.max()) + 1
    examples: list[Ints] = []
    for index, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        counts = np.bincount(code[low : high + 1], minlength=width)
        shares = [np.minimum(counts, other).sum() / np.maximum(counts, other).sum() for other in examples]
        nearest = int(np.argmax(shares)) if shares else -1
        if nearest >= 0 and shares[nearest] >= MIN_SIMILARITY:
            kind[index], alike[index] = nearest, shares[nearest]
        elif len(examples) < _MOST_KINDS:
            examples.append(counts)
            kind[index], alike[index] = len(examples) - 1, 1.0
    return kind, alike
