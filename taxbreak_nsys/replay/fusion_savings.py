"""What fusing the kernels of a run saves by the replay, for the most promising patterns of each phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.replay.predicted_phase import Key, key, why_not
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.result import Phase, Result

Row = dict[str, Any]

MOST_REPLAYED = 10
"""The number of patterns of each phase and thread that are replayed, those with the largest `saved_ns`."""
_NOT_AMONG = f"only the {MOST_REPLAYED} patterns of a phase with the largest exposed launch time are replayed"
_ELSEWHERE = "no run of the pattern lies in the replayed part of the report"


def with_replayed_savings(result: Result, rows: Sequence[Row], runs: KernelRuns) -> list[Row]:
    """Return the rows of fusion candidates with what fusing saves by the replay, or the reason why it is not known.

    `rows` come phase by phase, with the largest `saved_ns` first; they return with the largest saving by the replay
    first, then those that are not replayed. `runs` has their places. The saving is scaled from the replayed runs of a
    pattern to all of them. `replay_share` is its share of the phase's completion, like the shares of the levers.
    """
    by_phase: dict[Key, list[Row]] = {}
    for row in _replayed(result, rows, runs):
        by_phase.setdefault((row["phase"], row["process"], row["thread"]), []).append(row)
    return [row for of_phase in by_phase.values() for row in sorted(of_phase, key=_largest_first)]


def _largest_first(row: Row) -> int:
    return 1 if row["replay_saved_ns"] is None else -row["replay_saved_ns"]


def _replayed(result: Result, rows: Sequence[Row], runs: KernelRuns) -> Iterator[Row]:
    """Yield the rows with the columns of the replay."""
    entries = {key(entry): entry for entry in result.entries if not entry.combined}
    order = np.argsort(runs.pattern, kind="stable")
    pattern = runs.pattern[order]
    seen: Counter[Key] = Counter()
    replay: Replay | None = None
    for row in rows:
        where = row["phase"], row["process"], row["thread"]
        seen[where] += 1
        entry = entries[where]
        columns = {name: value for name, value in row.items() if name != "number"}
        reason = why_not(entry) or (_NOT_AMONG if seen[where] > MOST_REPLAYED else None)
        if reason is not None:
            yield columns | _figures(entry, reason=reason)
            continue
        replay = replay or Replay(result)
        low, high = np.searchsorted(pattern, [row["number"], row["number"] + 1])
        fused = replay.predict_fused(entry, runs.keep(np.sort(order[low:high])))
        if not fused.runs:
            yield columns | _figures(entry, reason=_ELSEWHERE)
            continue
        # a large report is replayed in stretches, which have a part of the runs
        saved = fused.saved_ns * row["instances"] // fused.runs if replay.sampled else fused.saved_ns
        yield columns | _figures(entry, runs=fused.runs, saved=saved, completion=fused.completion_ns)


def _figures(
    entry: Phase, *, runs: int = 0, saved: int | None = None, completion: int = 0, reason: str | None = None
) -> Row:
    return {
        "replay_share": saved / completion if saved is not None and completion > 0 else None,
        "replay_saved_ns": saved,
        "replay_saved_per_step_ns": saved // entry.instances if saved is not None and entry.instances else None,
        "replayed_runs": runs,
        "replay_reason": reason,
    }
