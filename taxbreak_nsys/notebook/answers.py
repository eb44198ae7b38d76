"""What `compare`, `whatif` and `gate` return: the answer as frames, and as text or Markdown for a display."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.comparison.comparison import Comparison
from taxbreak_nsys.comparison.diff_report import comparison_rows, render_diff
from taxbreak_nsys.gating.gate_report import render_gate
from taxbreak_nsys.gating.judging import Judgement, exit_code
from taxbreak_nsys.notebook.frames import to_frame
from taxbreak_nsys.output.whatif_report import prediction, ranking_report, ranking_rows
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.replay.sweep import predict_changes, rank_levers
from taxbreak_nsys.result import Result

if TYPE_CHECKING:
    import pandas as pd


class ShownAnswer:
    """An answer that shows itself: as the command's table in a terminal, as Markdown in a notebook."""

    def __repr__(self) -> str:
        """Return the table that the command line prints."""
        return self._text("table")

    def _repr_markdown_(self) -> str:
        return self._text("markdown")

    def _text(self, format: str) -> str:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, repr=False)
class ComparedReports(ShownAnswer):
    """What changed between two sides, per step."""

    comparison: Comparison

    @property
    def changes(self) -> pd.DataFrame:
        """A row per phase and metric: before, after, difference, 95 % interval (`low`, `high`), judgement (`word`)."""
        return _frame(comparison_rows(self.comparison))

    @property
    def conditions(self) -> pd.DataFrame:
        """What differs in how the two sides were captured, and what that does to the comparison."""
        return _frame([dataclasses.asdict(condition) for condition in self.comparison.conditions])

    def _text(self, format: str) -> str:
        return render_diff(self.comparison, format, None)


@dataclasses.dataclass(frozen=True, repr=False)
class Forecast(ShownAnswer):
    """What a change would bring, or with no change what each lever would."""

    replay: Replay
    scenario: Scenario

    @property
    def predictions(self) -> pd.DataFrame:
        """A row per phase (and lever): measured and predicted wall, device idle time, HDBI, share saved."""
        if self.scenario.unchanged:
            return _frame(ranking_rows(rank_levers(self.replay), predict_changes(self.replay)))
        return _frame([each.to_dict() for each in self.replay.predict(self.scenario)])

    def _text(self, format: str) -> str:
        if self.scenario.unchanged:
            return ranking_report(self.replay, rank_levers(self.replay), predict_changes(self.replay), format, None)
        return prediction(self.replay, self.scenario, self.replay.predict(self.scenario), format, None)


@dataclasses.dataclass(frozen=True, repr=False)
class GateOutcome(ShownAnswer):
    """The judgements of rules; true where all of them hold, so that it stands behind `assert`."""

    results: tuple[Result, ...]
    judgements: tuple[Judgement, ...]

    @property
    def exit_code(self) -> int:
        """0: all hold, 1: one is broken, 2: one cannot be judged."""
        return exit_code(self.judgements)

    @property
    def rules(self) -> pd.DataFrame:
        """A row per rule: value, limit, verdict, reason, note."""
        return _frame([dataclasses.asdict(judged) for judged in self.judgements])

    def __bool__(self) -> bool:
        """Return whether all rules hold."""
        return self.exit_code == 0

    def _text(self, format: str) -> str:
        return render_gate(self.results, self.judgements, format, None)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pyarrow as pa

    return to_frame(pa.Table.from_pylist([dict(row) for row in rows]))
