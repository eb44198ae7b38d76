"""Phases as serving engines mark them: rules from `data/engines.toml`, and the numbers in a mark's text."""

from __future__ import annotations

import tomllib
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
from taxbreak_nsys.read.input_files import read_user_text

if TYPE_CHECKING:
    import regex

STEP = "step"
"""The label of a step of which neither its mark nor its kernels say what it is."""

_RULES = Path(__file__).resolve().parent.parent / "data" / "engines.toml"
_KEYS = frozenset({"text", "phase", "phases", "tail", "tokens_a_generation_request", "named_by_kernels", "source"})
_GROUPS = frozenset({*COUNTS, "mode", "label"})


@dataclass(frozen=True)
class Mark:
    """One way in which an engine marks its steps; the fields are those of `data/engines.toml`."""

    text: UserPattern
    phase: str | None
    phases: Mapping[str, str]
    tail: UserPattern | None
    tokens_a_generation_request: int | Mapping[str, int] | None
    named_by_kernels: bool = False


@dataclass(frozen=True)
class Engine:
    """An engine and its marks, best first."""

    name: str
    title: str
    marks: tuple[Mark, ...]


def load_engines(extra: Path | None = None) -> tuple[Engine, ...]:
    """Return the engines that are known, those of the user's file `extra` first.

    Raises TaxbreakError where that file cannot be read or is not of the form.
    """
    own = _parse_file(_RULES)
    if extra is None:
        return own
    given = _parse_file(extra)
    names = {engine.name for engine in given}
    return (*given, *(engine for engine in own if engine.name not in names))


@cache
def _parse_file(path: Path) -> tuple[Engine, ...]:
    try:
        data = tomllib.loads(read_user_text(path))
    except OSError as error:
        raise TaxbreakError(f"{path}: cannot be read ({error.strerror}); give --phase-rules a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaxbreakError(f"{path}: not TOML ({error}); see docs/phases.md for the form of --phase-rules") from error
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
        raise TaxbreakError(f"{where}: phase is a text, phases a table of them")
    each = entry.get("tokens_a_generation_request")
    if not isinstance(each, int | dict | None):
        raise TaxbreakError(f"{where}: tokens_a_generation_request is a number, or a table of them by mode")
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
    """An engine's marks in one report: for each range name the phase (-1: no mark) and what the text says."""

    engine: Engine
    label_of_name: Ints
    labels: tuple[str, ...]
    counts_of_name: Ints
    tail_of_name: Flags
    unnamed: frozenset[str]
    """Labels that do not say whether a step is prefill or decode."""


def recognise(ranges: Ranges, engines: Sequence[Engine], forced: str | None) -> Marked | None:
    """Return the marks of the first engine that has any in the report, or of the one that was asked for.

    Raises TaxbreakError where that one is unknown or has none.
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
            found = [None if library[k] else mark.text.search(name) for k, name in enumerate(ranges.names)]
            if any(found):
                return _marked(ranges, engine, mark, found)
    if forced is not None:
        raise TaxbreakError(f"--engine {forced}: no NVTX range of the report is a mark of {engines[0].title}")
    return None


def _marked(ranges: Ranges, engine: Engine, mark: Mark, found: Sequence[regex.Match[str] | None]) -> Marked:
    labels: dict[str, int] = {}
    label = np.full(len(found), -1, np.int64)
    counts = np.full((len(found), len(COUNTS)), UNKNOWN, np.int64)
    for index, match in enumerate(found):
        if match is not None:
            phase, said = read_mark(mark, match)
            label[index] = labels.setdefault(phase, len(labels))
            counts[index] = [said.get(key, UNKNOWN) for key in COUNTS]
    tail = np.zeros(len(found), bool)
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
    """Return the phase of a marked step and the counts (`COUNTS`) that its text gives; what it does not say is
    not in the counts.
    """
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    said = {key: int(value) for key, value in groups.items() if key in COUNTS}
    mode = groups.get("mode")
    phase = mark.phase or (mark.phases.get(mode) if mode else None) or groups.get("label")
    context, generation = said.get("context_requests"), said.get("generation_requests")
    if phase is None and context is not None and generation is not None:
        phase = "mixed" if context and generation else "prefill" if context else "decode" if generation else "idle"
    for kind, other, of_phase in (("context", "generation", "prefill"), ("generation", "context", "decode")):
        if phase != of_phase:
            continue
        # a step of one kind alone: its totals are that kind's, and the other kind has none
        for unit in ("requests", "tokens"):
            if unit in said:
                said.setdefault(f"{kind}_{unit}", said[unit])
        if f"{kind}_requests" in said:
            said.setdefault(f"{other}_requests", 0)
            said.setdefault(f"{other}_tokens", 0)
    for kind in ("context", "generation"):
        if said.get(f"{kind}_requests") == 0:
            said.setdefault(f"{kind}_tokens", 0)
    each = mark.tokens_a_generation_request
    each = each.get(mode or "") if isinstance(each, Mapping) else each
    if each is not None and "generation_requests" in said:
        said.setdefault("generation_tokens", each * said["generation_requests"])
    for unit in ("requests", "tokens"):
        if f"context_{unit}" in said and f"generation_{unit}" in said:
            said.setdefault(unit, said[f"context_{unit}"] + said[f"generation_{unit}"])
    return phase or (mode.lower() if mode else STEP), said


def by_engine(
    ranges: Ranges, threads: Sequence[int], marked: Marked, computing: Set[int] | None = None
) -> list[ProcessPhases]:
    """Return the steps that an engine marked, for each process with launching threads that its marks are about.

    A process without marks takes those of the one process that marks and does not launch (an engine process that
    marks for its workers). Where `computing` names the threads that launch kernels or graphs, a thread that only copies
    helps them, whether it marks or not.
    """
    chosen = (marked.label_of_name[ranges.name] >= 0) & (ranges.end > ranges.start)
    source = PhaseSource("engine", marked.engine.name, evidence=f"marks of {marked.engine.title}")
    found = []
    for picked in marked_ranges(ranges, chosen, threads, apart=True, owners=computing):
        phases = phases_from_marks(ranges, picked, marked.label_of_name, marked.labels, source, marked.counts_of_name)
        end = _with_tail(ranges, picked.index, marked.tail_of_name)
        found.append(replace(phases, end=end, unnamed=marked.unnamed))
    return found


def _with_tail(ranges: Ranges, picked: Ints, tail_of_name: Flags) -> Ints:
    """Return where each marked step ends: with the last tail range of its thread before the next mark."""
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
        # a tail that reaches into the next step is cut there
        end[steps[:-1]] = np.minimum(end[steps[:-1]], np.maximum(begin[1:], ranges.end[picked[steps[:-1]]]))
    return end
