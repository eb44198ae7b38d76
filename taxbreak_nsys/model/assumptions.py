"""Assumptions about a report that is read in windows, and the exception that corrects them."""

from __future__ import annotations

from dataclasses import dataclass, replace

LONGEST_NS = 2**53
"""Longer than any capture (`read.column_checks`): a limit of this length never applies."""


@dataclass(frozen=True)
class Assumptions:
    """Assumptions that hold in nearly every report. If one proves wrong, the report is read again with it corrected.

    `sorted_tables` names the queries whose rows SQLite must sort by time, because the file has them in another order.
    `look_ahead_ns` is the longest time from a launch to the start of its device work. `orphan_ns` is the longest time
    for which finished device work waits for its launching call to be read. `clock_slack_ns` is the longest time by
    which device work seems to start before its launch. With `patient`, every window looks ahead by the full
    `look_ahead_ns`, even if the previous window found nothing there. `has_samples` is false where no CPU sample of the
    launching threads has a call chain. With `one_window`, everything is read before anything is measured, and nothing
    is assumed.
    """

    sorted_tables: frozenset[str] = frozenset()
    look_ahead_ns: int = 2_000_000_000
    orphan_ns: int = 100_000_000
    clock_slack_ns: int = 10_000_000
    patient: bool = False
    has_samples: bool = True
    one_window: bool = False

    def corrected(self, wrong: WrongAssumption) -> Assumptions:
        """Return the assumptions for the next reading; with `one_window` where the correction changes nothing."""
        changed = replace(
            self,
            sorted_tables=self.sorted_tables | wrong.unsorted,
            look_ahead_ns=max(self.look_ahead_ns, min(wrong.look_ahead_ns, LONGEST_NS)),
            orphan_ns=max(self.orphan_ns, min(wrong.orphan_ns, LONGEST_NS)),
            clock_slack_ns=max(self.clock_slack_ns, min(wrong.clock_slack_ns, LONGEST_NS)),
            patient=self.patient or bool(wrong.look_ahead_ns),
            has_samples=self.has_samples and not wrong.no_samples,
        )
        return changed if changed != self else replace(self, one_window=True)


class WrongAssumption(Exception):
    """The report contradicts an assumption; the fields have the corrected values for the next reading."""

    def __init__(
        self,
        *,
        unsorted: str | None = None,
        look_ahead_ns: int = 0,
        orphan_ns: int = 0,
        clock_slack_ns: int = 0,
        no_samples: bool = False,
    ) -> None:
        """Give the table that is out of order, a sufficient time (ns; 0: unchanged), or `no_samples`."""
        super().__init__(unsorted, look_ahead_ns, orphan_ns, clock_slack_ns, no_samples)
        self.unsorted = frozenset({unsorted} if unsorted else ())
        self.look_ahead_ns, self.orphan_ns, self.clock_slack_ns = look_ahead_ns, orphan_ns, clock_slack_ns
        self.no_samples = no_samples
