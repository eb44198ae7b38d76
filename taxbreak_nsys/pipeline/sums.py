"""The sums over the windows of a report: totals for the result, stretches for the replay."""

from __future__ import annotations

from dataclasses import dataclass

from taxbreak_nsys.model.assumptions import Assumptions
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.replay.stretches import Stretches
from taxbreak_nsys.totals.totals import Totals
from taxbreak_nsys.totals.warning_facts import Piece


@dataclass(frozen=True)
class Sums:
    """The totals of a report, and the stretches of it that the verdicts and `whatif` replay."""

    totals: Totals
    stretches: Stretches

    @classmethod
    def over(cls, instances: Instances, assumptions: Assumptions, options: Options) -> Sums:
        """Return empty sums for the phase instances of a report; `options` selects the tables of details."""
        totals = Totals(instances, assumptions, options)
        return cls(totals, Stretches(totals.entries, assumptions))

    def add(self, piece: Piece) -> None:
        """Add a piece of the report; pieces must come in the order of time."""
        self.totals.add(piece)
        self.stretches.add(piece)
        if (spans := self.stretches.spans) is not None:
            self.totals.details.keep_runs_within(spans)
