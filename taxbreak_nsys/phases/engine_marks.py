"""Phases by the NVTX marks of serving engines: the rules of `data/engines.toml`, and the counts in a mark's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource
from taxbreak_nsys.model.trace_columns import Ranges, thread_slice
from taxbreak_nsys.model.user_pattern import UserPattern
from taxbreak_nsys.phases.process_phases import ProcessPhases, marked_ranges, phases_from_marks
from taxbreak_nsys.read.input_files import read_user_toml

if TYPE_CHECKING:
    import regex

STEP = "step"
"""The label of a step that neither its mark nor its kernels name."""

_RULES = Path(__file__).resolve().parent.parent / "data" / "engines.toml"
_KEYS = frozenset({"text", "phase", "phases", "tail", "tokens_a_generation_request", "named_by_kernels", "source"})
_GROUPS = frozenset({*COUNTS, "mode", "label"})


@dataclass(frozen=True)
class Mark:
    """One form of an engine's step marks; `data/engines.toml` documents the fields."""

    text: UserPattern
    phase: str | None
    phases: Mapping[str, str]
    tail: UserPattern | None
    tokens_a_generation_request: int | Mapping[str, int] | None
    named_by_kernels: bool = False


@dataclass(frozen=True)
class Engine:
    """A serving engine and the forms of its marks, the preferred form first."""

    name: str
    title: str
    marks: tuple[Mark, ...]


def load_engines(extra: Path | None = None) -> tuple[Engine, ...]:
    """Return the known engines; those of the user's file `extra` come first and replace packaged engines by name.

    Raises TaxbreakError where the file cannot be read or does not have the form of docs/phases.md.
    """
    own = _shipped()
    if extra is None:
        return own
    given = _parse_file(extra)
    names = {engine.name for engine in given}
    return (*given, *(engine for engine in own if engine.name not in names))


@cache
def _shipped() -> tuple[Engine, ...]:
    return _parse_file(_RULES)


def _parse_file(path: Path) -> tuple[Engine, ...]:
    """Return the engines of a TOML file; raises TaxbreakError, which names the file and the fault."""
    data = read_user_toml(path, "--phase-rules", "docs/phases.md")
    entries = data.get("engine")
    if not isinstance(entries, list) or not entries:
        raise TaxbreakError(f"{path}: no [[engine]] in it; see docs/phases.md for the form of --phase-rules")
    return tuple(_engine(path, entry) for entry in entries)


def _engine(path: Path, entry: Any) -> Engine:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise TaxbreakError(f"{path}: an [[engine]] without a name")
    marks = entry.get("mark")
    if not isinstance(marks, list) or not marks:
        raise TaxbreakError(f"{path}: engine {name!r} has no [[engine.mark]]")
    return Engine(name, str(entry.get("title", name)), tuple(_mark(path, name, mark) for mark in marks))


def _mark(path: Path, engine: str, entry: Any) -> Mark:
    where = f"{path}: engine {engine!r}"
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise TaxbreakError(f"{where}: a mark needs text = 'REGEX'")
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise TaxbreakError(f"{where}: unknown key {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}")
    text = UserPattern.parse(entry["text"], where)
    tail = UserPattern.parse(entry["tail"], where) if "tail" in entry else None
    strange = sorted(text.groups - _GROUPS)
    if strange:
        raise TaxbreakError(f"{where}: unknown group {strange[0]!r}; the groups are {', '.join(sorted(_GROUPS))}")
    phase, phases = entry.get("phase"), entry.get("phases", {})
    if not isinstance(phase, str | None) or not isinstance(phases, dict):
        raise TaxbreakError(f"{where}: phase must be a string, phases a table of strings")
    each = entry.get("tokens_a_generation_request")
    if not isinstance(each, int | dict | None):
        raise TaxbreakError(f"{where}: tokens_a_generation_request must be a number, or a table of numbers by mode")
    return Mark(
        text=text,
        phase=phase,
        phases={str(k): str(v) for k, v in phases.items()},
        tail=tail,
        tokens_a_generation_request=each,
        named_by_kernels=entry.get("named_by_kernels") is True,
    )


@dataclass(frozen=True)
class Marked:
    """An engine's marks in one report, by range name: the label code (-1: no mark), the counts, the tail flag."""

    engine: Engine
    label_of_name: Ints
    labels: tuple[str, ...]
    counts_of_name: Ints
    tail_of_name: Flags
    unnamed: frozenset[str]
    """Labels that do not say whether a step is prefill or decode: the kernels may name these steps."""


def recognise(ranges: Ranges, engines: Sequence[Engine], forced: str | None) -> Marked | None:
    """Return the marks of the first engine with marks in the report, or of the engine `forced`; None without marks.

    Raises TaxbreakError where `forced` is unknown or has no marks in the report.
    """
    if forced is not None:
        known = {engine.name: engine for engine in engines}
        if forced not in known:
            raise TaxbreakError(f"--engine {forced!r}: not one of {', '.join(known)}")
        engines = [known[forced]]
    library = np.zeros(len(ranges.names), bool)
    library[ranges.name[ranges.is_library]] = True
    for engine in engines:
        for mark in engine.marks:
            matches = [None if library[k] else mark.text.search(name) for k, name in enumerate(ranges.names)]
            if any(matches):
                return _marked(ranges, engine, mark, matches)
    if forced is not None:
        raise TaxbreakError(f"--engine {forced}: no NVTX range of the report is a mark of {engines[0].title}")
    return None


def _marked(ranges: Ranges, engine: Engine, mark: Mark, matches: Sequence[regex.Match[str] | None]) -> Marked:
    """Return the marks of one form; `matches` has its match in each range name, None without."""
    labels: dict[str, int] = {}
    label = np.full(len(matches), -1, np.int64)
    counts = np.full((len(matches), len(COUNTS)), UNKNOWN, np.int64)
    for index, match in enumerate(matches):
        if match is not None:
            phase, step_counts = read_mark(mark, match)
            label[index] = labels.setdefault(phase, len(labels))
            counts[index] = [step_counts.get(key, UNKNOWN) for key in COUNTS]
    tail = np.zeros(len(matches), bool)
    if mark.tail is not None:
        tail = np.array([label[k] < 0 and bool(mark.tail.search(name)) for k, name in enumerate(ranges.names)], bool)
    return Marked(
        engine=engine,
        label_of_name=label,
        labels=tuple(labels),
        counts_of_name=counts,
        tail_of_name=tail,
        unnamed=frozenset(labels) if mark.named_by_kernels else frozenset({STEP}),
    )


def read_mark(mark: Mark, match: regex.Match[str]) -> tuple[str, dict[str, int]]:
    """Return the phase of a marked step and its counts by name (of `COUNTS`), without counts that the text lacks."""
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    counts = {key: int(value) for key, value in groups.items() if key in COUNTS}
    mode = groups.get("mode")
    phase = mark.phase or (mark.phases.get(mode) if mode else None) or groups.get("label")
    context, generation = counts.get("context_requests"), counts.get("generation_requests")
    if phase is None and context is not None and generation is not None:
        phase = "mixed" if context and generation else "prefill" if context else "decode" if generation else "idle"
    for kind, other, of_phase in (("context", "generation", "prefill"), ("generation", "context", "decode")):
        if phase != of_phase:
            continue
        # A step of one kind only: the totals belong to that kind, and the other kind's counts are 0.
        for unit in ("requests", "tokens"):
            if unit in counts:
                counts.setdefault(f"{kind}_{unit}", counts[unit])
        if f"{kind}_requests" in counts:
            counts.setdefault(f"{other}_requests", 0)
            counts.setdefault(f"{other}_tokens", 0)
    for kind in ("context", "generation"):
        if counts.get(f"{kind}_requests") == 0:
            counts.setdefault(f"{kind}_tokens", 0)
    each = mark.tokens_a_generation_request
    each = each.get(mode or "") if isinstance(each, Mapping) else each
    if each is not None and "generation_requests" in counts:
        counts.setdefault("generation_tokens", each * counts["generation_requests"])
    for unit in ("requests", "tokens"):
        if f"context_{unit}" in counts and f"generation_{unit}" in counts:
            counts.setdefault(unit, counts[f"context_{unit}"] + counts[f"generation_{unit}"])
    return phase or (mode.lower() if mode else STEP), counts


def by_engine(
    ranges: Ranges, threads: Sequence[int], marked: Marked, computing: Set[int] | None = None
) -> list[ProcessPhases]:
    """Return the steps that an engine marked, for each process with launching threads and marks.

    A process without marks takes the marks of the one process that marks and does not launch (an engine process that
    marks for its workers). `computing` are the threads that launch kernels or graphs: a thread that only copies then
    counts as their helper, whether it marks or not.
    """
    chosen = (marked.label_of_name[ranges.name] >= 0) & (ranges.end > ranges.start)
    source = PhaseSource("engine", marked.engine.name, evidence=f"marks of {marked.engine.title}")
    result = []
    for picked in marked_ranges(ranges, chosen, threads, apart=True, owners=computing):
        phases = phases_from_marks(ranges, picked, marked.label_of_name, marked.labels, source, marked.counts_of_name)
        end = _with_tail(ranges, picked.index, marked.tail_of_name)
        result.append(replace(phases, end=end, unnamed=marked.unnamed))
    return result


def _with_tail(ranges: Ranges, picked: Ints, tail_of_name: Flags) -> Ints:
    """Return the end of each marked step: the end of the last tail range of its thread before the next mark."""
    end = ranges.end[picked].copy()
    if not tail_of_name.any():
        return end
    for thread in np.unique(ranges.thread[picked]).tolist():
        steps = np.flatnonzero(ranges.thread[picked] == thread)
        steps = steps[np.argsort(ranges.start[picked[steps]])]
        part = thread_slice(ranges.thread, thread)
        tails = np.flatnonzero(tail_of_name[ranges.name[part]]) + part.start
        begin = ranges.start[picked[steps]]
        step = np.searchsorted(begin, ranges.start[tails], side="right") - 1
        tails, step = tails[step >= 0], step[step >= 0]
        np.maximum.at(end, steps[step], ranges.end[tails])
        # A tail that reaches into the next step ends where that step begins.
        end[steps[:-1]] = np.minimum(end[steps[:-1]], np.maximum(begin[1:], ranges.end[picked[steps[:-1]]]))
    return end
