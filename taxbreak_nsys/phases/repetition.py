"""Finds the steps that a sequence of launches repeats: where each begins and ends, and which are alike.

Works on codes alone, so that it can be tested with planted periods. A step ends where the host waits for the
device or reads from it; of all such places those are taken that come back with every step, told by the launch
before them. What every forward pass of a model has the same number of (its attention kernels, one or more a
layer) says which of the many repetitions of a model, layer, step or request, is the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Flags, Ints

MIN_SIMILARITY = 0.7
"""Steps are of one kind where they share this much of their launches (multiset overlap over union)."""

MIN_SHARE = 0.8
"""The least share of a thread's segments, and of its launches, that the repetition must explain."""

MIN_LAUNCHES = 8
"""Without attention kernels, fewer launches (and no graph) are no step."""

MIN_ATTENTION = 2
"""With fewer attention kernels, a repeated stretch is a layer, not a step."""

MIN_GRAPHS = 3
"""Fewer launches of one CUDA graph are no repetition."""

_MOST_KINDS = 24
_MOST_SEGMENTS = 20_000


@dataclass(frozen=True)
class Launched:
    """A thread's launches in order: `token` says what was launched, `shape` the same with its size (launches of one
    token may differ in it, and kinds of steps are told by it), `ends` that the host waited or read after it,
    `attention` how many attention kernels it ran, `graph` that it launched a graph, `hidden` that it launched a
    graph whose kernels are not in the report, `memory` that it only copied or set.
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
        """Return the number of launches."""
        return len(self.token)


@dataclass(frozen=True)
class FoundSteps:
    """Steps as launches `first` to `last` (inclusive) and the `kind` of each: steps of a kind are alike."""

    first: Ints
    last: Ints
    kind: Ints


@dataclass(frozen=True)
class Periods(FoundSteps):
    """Steps that repeat.

    `similarity` is the mean over the steps that have others of their kind; `coverage` the share of the launches
    between the first step and the last that are in steps; `waited` says that a wait ends them.
    """

    similarity: float
    coverage: float
    waited: bool

    @property
    def confidence(self) -> float:
        """How much of what was seen the steps explain, 0 to 1."""
        return self.similarity * self.coverage


def find_periods(launched: Launched) -> Periods | None:
    """Return the steps that the launches repeat, None where no repetition explains most of them."""
    if len(launched) < 2:
        return None
    attends = bool(launched.attention.any())
    waited = True
    division = None
    if attends:
        division = _by_attention(launched, _wait_classes(launched))
        if division is None:
            division, waited = _by_attention(launched, _launch_classes(launched)), False
    else:
        division = _by_likeness(launched)
    if division is None:
        division, waited, attends = _by_graphs(launched), False, False
    if division is None:
        return None
    first, last = _segments(division.ends, len(launched))
    first, last = first[division.good], last[division.good]
    kind, alike = step_kinds(launched.shape, first, last)
    known = kind >= 0
    first, last, kind, alike = first[known], last[known], kind[known], alike[known]
    if not len(kind) or np.bincount(kind).max() < 2:
        return None
    # what follows the last wait is a step only where it is like one
    if last[-1] == len(launched) - 1 and not launched.ends[-1] and np.sum(kind == kind[-1]) < 2:
        first, last, kind, alike = first[:-1], last[:-1], kind[:-1], alike[:-1]
    if not attends and not division.by_graphs:
        repeated = np.bincount(kind)[kind] > 1
        first, last, kind, alike = first[repeated], last[repeated], kind[repeated], alike[repeated]
    several = np.bincount(kind)[kind] > 1
    inside = last[-1] - first[0] + 1
    return Periods(first, last, kind, float(alike[several].mean()), float(np.sum(last - first + 1) / inside), waited)


def _segments(ends: Ints, count: int) -> tuple[Ints, Ints]:
    """Cut `count` launches after each of `ends`."""
    first = np.r_[0, ends + 1]
    last = np.r_[ends, count - 1]
    keep = first <= last
    return first[keep], last[keep]


def _wait_classes(launched: Launched) -> list[Ints]:
    """Return the places where a step may end, those together that follow the same kernel and wait alike."""
    at = np.flatnonzero(launched.ends)
    if not len(at):
        return []
    # several reads in a row are one wait: only the last can end a step
    following = np.minimum(at + 1, len(launched) - 1)
    again = launched.memory[following] & launched.ends[following] & (following > at)
    at = at[~again]
    kernel = np.maximum.accumulate(np.where(launched.memory, -1, np.arange(len(launched))))[at]
    key = np.where(kernel >= 0, launched.token[np.maximum(kernel, 0)], -1) * 2 + launched.to_host[at]
    return _together(key, at)


def _launch_classes(launched: Launched) -> list[Ints]:
    """Return the places before each launch of what is launched rarely: where steps begin if nothing waits."""
    most = int(launched.attention.sum()) // MIN_ATTENTION
    places = [at for at in _together(launched.token, np.arange(len(launched))) if 2 <= len(at) <= most]
    places.sort(key=lambda at: int(at[0]))
    return [at[at > 0] - 1 for at in places]


def _together(key: Ints, place: Ints) -> list[Ints]:
    """Return the places of each key, in order."""
    order = np.argsort(key, kind="stable")
    return np.split(place[order], np.flatnonzero(np.diff(key[order])) + 1)


@dataclass(frozen=True)
class _Division:
    """A way to cut the launches: after each of `ends`, with the segments that are whole steps (`good`).

    `layers` is the number of attention kernels of a step, `explained` the launches in whole steps, `share` that of
    the whole steps among the segments that the capture does not cut.
    """

    ends: Ints
    good: Flags
    layers: int
    explained: int
    share: float
    by_graphs: bool = False


def _divide(launched: Launched, before: Ints, hidden: Ints, ends: Ints) -> _Division | None:
    """Cut after each of `ends`; None where no two whole steps come of it.

    `before` and `hidden` count the attention kernels and the graphs without kernels before each launch. A whole
    step has as many attention kernels as most segments have, or a graph that may hold those that it lacks.
    """
    first, last = _segments(ends, len(launched))
    held, unseen = before[last + 1] - before[first], hidden[last + 1] - hidden[first]
    seen = held[(held >= MIN_ATTENTION) & (unseen == 0)]
    if not len(seen):
        return None
    values, counts = np.unique(seen, return_counts=True)
    # the larger of two that are as many: what the capture cuts at its ends holds fewer, and may hold as many twice
    layers = int(values[counts == counts.max()][-1])
    good = (held == layers) | ((unseen > 0) & (held < layers))
    judged = np.ones(len(first), bool)
    # the ends of the capture may cut a step
    judged[0], judged[-1] = held[0] >= layers, held[-1] >= layers
    if good.sum() < 2 or not judged.any():
        return None
    return _Division(ends, good, layers, int(np.sum((last - first + 1)[good])), float(good[judged].mean()))


def _by_attention(launched: Launched, classes: list[Ints]) -> _Division | None:
    """Return the division in which every step has the same number of attention kernels, the finest such."""
    before = np.r_[0, np.cumsum(launched.attention)]
    hidden = np.r_[0, np.cumsum(launched.hidden)]
    found = [one for ends in classes if len(ends) and (one := _divide(launched, before, hidden, ends))]
    found = [one for one in found if one.share >= MIN_SHARE]
    if not found:
        return None
    most = max(one.explained for one in found)
    best = max((one for one in found if one.explained >= MIN_SHARE * most), key=lambda one: len(one.ends))
    # steps of another kind may end in another way: take in the places that explain more
    for ends in sorted(classes, key=len):
        joined = np.union1d(best.ends, ends)
        one = _divide(launched, before, hidden, joined) if len(joined) > len(best.ends) else None
        if one is None or one.layers != best.layers or one.share < best.share:
            continue
        if (one.explained, one.good.sum()) > (best.explained, best.good.sum()):
            best = one
    return best


def _by_likeness(launched: Launched) -> _Division | None:
    """Return the step ends such that most launches lie in segments that come back, the finest such."""
    graphs = np.r_[0, np.cumsum(launched.graph)]
    for ends in sorted(_wait_classes(launched), key=len, reverse=True):
        first, last = _segments(ends, len(launched))
        size = last - first + 1
        small = (size < MIN_LAUNCHES) & (graphs[last + 1] == graphs[first])
        if len(ends) < 2 or small[:-1].any():
            continue
        kind, _ = step_kinds(launched.token, first, last)
        repeated = (kind >= 0) & (np.bincount(kind + 1)[kind + 1] > 1)
        if size[repeated].sum() >= MIN_SHARE * size.sum():
            share = float(size[repeated].sum() / size.sum())
            return _Division(ends, repeated, 0, int(size[repeated].sum()), share)
    return None


def _by_graphs(launched: Launched) -> _Division | None:
    """Return the steps of a program that launches nearly everything as one CUDA graph per step (JAX, XLA).

    A step begins with its graph. At least MIN_GRAPHS of them, and half of all, must be launched again and again.
    """
    at = np.flatnonzero(launched.graph)
    if len(at) < MIN_GRAPHS or 2 * len(at) < int(np.sum(~launched.memory)):
        return None
    _, place, count = np.unique(launched.token[at], return_inverse=True, return_counts=True)
    again = int(np.sum(count[place] >= MIN_GRAPHS))
    if 2 * again < len(at):
        return None
    ends = at[at > 0] - 1
    first, last = _segments(ends, len(launched))
    good = launched.graph[first]
    explained = int(np.sum((last - first + 1)[good]))
    share = float(again / len(at))
    return _Division(ends, good, 0, explained, share, by_graphs=True)


def step_kinds(token: Ints, first: Ints, last: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Group segments that are alike; return each one's kind (-1: too many kinds) and likeness to its kind's first.

    Alike is by the multiset of what they launch: order does not count, a few kernels more or less hardly do.
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
