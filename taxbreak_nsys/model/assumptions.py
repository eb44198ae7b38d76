"""What a reading in windows takes for granted, and how it says that a report is otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

LONGEST_NS = 2**53
"""Longer than any capture (`read.column_checks`): a limit of this much is no limit."""


@dataclass(frozen=True)
class Assumptions:
    """What holds in nearly every report. Where one proves wrong, the report is read again with it corrected.

    `sorted_tables` names the queries whose rows SQLite must sort by time, because the file does not have them in that
    order. `look_ahead_ns` is the longest time from a launch to the start of its device work, `orphan_ns` the longest
    from the end of device work to the moment up to which its launching call has been read, and `clock_slack_ns` the
    longest that device work seems to start before its launch. `patient` looks as far ahead in every window, even where
    the window before looked in vain. `has_samples` is false where no CPU sample of the launching threads has a call
    chain. `one_window` reads everything before anything is measured, so nothing is assumed.
    """

    sorted_tables: frozenset[str] = frozenset()
    look_ahead_ns: int = 2_000_000_000
    orphan_ns: int = 100_000_000
    clock_slack_ns: int = 10_000_000
    patient: bool = False
    has_samples: bool = True
    one_window: bool = False

    def corrected(self, wrong: WrongAssumption) -> Assumptions:
        """Return the assumptions for another reading; `one_window` where the correction changes nothing."""
        other = replace(
            self,
            sorted_tables=self.sorted_tables | wrong.unsorted,
            look_ahead_ns=max(self.look_ahead_ns, min(wrong.look_ahead_ns, LONGEST_NS)),
            orphan_ns=max(self.orphan_ns, min(wrong.orphan_ns, LONGEST_NS)),
            clock_slack_ns=max(self.clock_slack_ns, min(wrong.clock_slack_ns, LONGEST_NS)),
            patient=self.patient or bool(wrong.look_ahead_ns),
            has_samples=self.has_samples and not wrong.no_samples,
        )
        return other if other != self else replace(self, one_window=True)


class WrongAssumption(Exception):
    """The report is not as `Assumptions` have it; the fields say what another reading must assume instead."""

    def __init__(
        self,
        *,
        unsorted: str | None = None,
        look_ahead_ns: int = 0,
        orphan_ns: int = 0,
        clock_slack_ns: int = 0,
        no_samples: bool = False,
    ) -> None:
        """Name the table that is out of order, the time that was too short, or the samples that are not there."""
        super().__init__(unsorted, look_ahead_ns, orphan_ns, clock_slack_ns, no_samples)
        self.unsorted = frozenset({unsorted} if unsorted else ())
        self.look_ahead_ns, self.orphan_ns, self.clock_slack_ns = look_ahead_ns, orphan_ns, clock_slack_ns
        self.no_samples = no_samples
