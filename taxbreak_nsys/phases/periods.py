"""Finds the steps that a sequence of launches repeats: where each begins and ends, and which are alike.

Works on codes alone, so that it can be tested with planted periods. A step ends where the host waits for the
device or reads from it; of all such places those are taken that come back with every step, told by the launch
before them. What every forward pass of a model has the same number of (its attention kernels, one or more a
layer) says which of the many repetitions of a model, layer, step or request, is the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.intervals import Flags, Ints

MIN_SIMILARITY = 0.7
"""Steps are of one kind where they share this much of their launches (multiset overlap over union)."""

MIN_SHARE = 0.8
"""The least share of a thread's segments, and of its launches, that the repetition must explain."""

MIN_LAUNCHES = 8
"""Without attention kernels, fewer launches (and no graph) are no step."""

MIN_ATTENTION = 2
"""With fewer attention kernels, a repeated stretch is a layer, not a step."""

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
class Periods:
    """Steps as launches `first` to `last` (inclusive) and the `kind` of each: steps of a kind are alike.

    `similarity` is the mean over the steps that have others of their kind; `coverage` the share of the launches
    between the first step and the last that are in steps; `waited` says that a wait ends them.
    """

    first: Ints
    last: Ints
    kind: Ints
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
    ends = _by_attention(launched, _wait_classes(launched)) if attends else _by_likeness(launched)
    if ends is None and attends:
        ends, waited = _by_attention(launched, _launch_classes(launched)), False
    if ends is None:
        return None
    first, last = _segments(ends, len(launched))
    good = _complete(launched, first, last) if attends else np.ones(len(first), bool)
    first, last = first[good], last[good]
    kind, alike = _kinds(launched.shape, first, last)
    known = kind >= 0
    first, last, kind, alike = first[known], last[known], kind[known], alike[known]
    if not len(kind) or np.bincount(kind).max() < 2:
        return None
    # what follows the last wait is a step only where it is like one
    if last[-1] == len(launched) - 1 and not launched.ends[-1] and np.sum(kind == kind[-1]) < 2:
        first, last, kind, alike = first[:-1], last[:-1], kind[:-1], alike[:-1]
    if not attends:
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
class _Fit:
    ends: Ints
    layers: int
    explained: int
    good: int
    share: float


def _fit(launched: Launched, before: Ints, hidden: Ints, ends: Ints) -> _Fit | None:
    """Judge a division: the number of attention kernels that most segments have, and what it explains."""
    first, last = _segments(ends, len(launched))
    held, unseen = before[last + 1] - before[first], hidden[last + 1] - hidden[first]
    seen = held[(held >= MIN_ATTENTION) & (unseen == 0)]
    if not len(seen):
        return None
    values, counts = np.unique(seen, return_counts=True)
    layers = int(values[np.argmax(counts)])
    good = (held == layers) | ((unseen > 0) & (held < layers))
    judged = np.ones(len(first), bool)
    # the ends of the capture may cut a step
    judged[0], judged[-1] = held[0] >= layers, held[-1] >= layers
    if good.sum() < 2 or not judged.any():
        return None
    explained = int(np.sum((last - first + 1)[good]))
    return _Fit(ends, layers, explained, int(good.sum()), float(good[judged].mean()))


def _by_attention(launched: Launched, classes: list[Ints]) -> Ints | None:
    """Return the step ends such that every step has the same number of attention kernels, the finest such."""
    before = np.r_[0, np.cumsum(launched.attention)]
    hidden = np.r_[0, np.cumsum(launched.hidden)]
    fits = [fit for ends in classes if len(ends) and (fit := _fit(launched, before, hidden, ends))]
    fits = [fit for fit in fits if fit.share >= MIN_SHARE]
    if not fits:
        return None
    most = max(fit.explained for fit in fits)
    best = max((fit for fit in fits if fit.explained >= MIN_SHARE * most), key=lambda fit: len(fit.ends))
    # steps of another kind may end in another way: take in the places that explain more
    for ends in sorted(classes, key=len):
        joined = np.union1d(best.ends, ends)
        fit = _fit(launched, before, hidden, joined) if len(joined) > len(best.ends) else None
        if fit is None or fit.layers != best.layers or fit.share < best.share:
            continue
        if fit.explained > best.explained or (fit.explained == best.explained and fit.good > best.good):
            best = fit
    return best.ends


def _complete(launched: Launched, first: Ints, last: Ints) -> Flags:
    """Tell which segments are whole steps: all the attention kernels of one, or a graph that may hold them."""
    before = np.r_[0, np.cumsum(launched.attention)]
    hidden = np.r_[0, np.cumsum(launched.hidden)]
    held, unseen = before[last + 1] - before[first], hidden[last + 1] - hidden[first]
    seen = held[(held >= MIN_ATTENTION) & (unseen == 0)]
    values, counts = np.unique(seen, return_counts=True)
    layers = values[np.argmax(counts)] if len(values) else 0
    return (held == layers) | ((unseen > 0) & (held < layers))


def _by_likeness(launched: Launched) -> Ints | None:
    """Return the step ends such that most launches lie in segments that come back, the finest such."""
    graphs = np.r_[0, np.cumsum(launched.graph)]
    for ends in sorted(_wait_classes(launched), key=len, reverse=True):
        first, last = _segments(ends, len(launched))
        size = last - first + 1
        small = (size < MIN_LAUNCHES) & (graphs[last + 1] == graphs[first])
        if len(ends) < 2 or small[:-1].any():
            continue
        kind, _ = _kinds(launched.token, first, last)
        repeated = (kind >= 0) & (np.bincount(kind + 1)[kind + 1] > 1)
        if size[repeated].sum() >= MIN_SHARE * size.sum():
            return ends
    return None


def _kinds(token: Ints, first: Ints, last: Ints) -> tuple[Ints, np.ndarray]:
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
