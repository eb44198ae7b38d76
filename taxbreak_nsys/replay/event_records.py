"""When the event that a synchronisation waits for was recorded: it cannot wait for work that was launched later.

A report names the event of a synchronisation, but not the event that a call creates or records. The driver numbers
events as they are created, so calls that wait for an event just created tell the numbers of those around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, Flags, Ints
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.event_waits import EventWaits
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, ApiCalls


def with_records(columns: ReplayColumns, waits: EventWaits | None) -> ReplayColumns:
    """Return the columns with the times when events were recorded, as far as the synchronisations tell (None: none)."""
    return columns if waits is None else replace(columns, recorded=recorded_at(columns.api, waits))


def recorded_at(api: ApiCalls, waits: EventWaits) -> Ints:
    """Return for each API call the time (ns) when the event that it waits for was recorded; FOREVER if not known.

    It is known of an event whose creation is found (`_creations`) and that the creating thread recorded before it
    created the next one. We assume that such an event is recorded once.
    """
    found = np.full(len(api), FOREVER, np.int64)
    waiting = api.named(name_rules.waits_for_event)
    if not waiting.any():
        return found
    process = api.thread & PROCESS_MASK
    for number in np.unique(process[waiting]).tolist():
        rows = waits.process == number
        calls = _ProcessCalls(api, process == number, waits.start[rows], waits.event[rows])
        wait, creation = _creations(calls)
        record = calls.first_record(creation)
        known = record >= 0
        found[wait[known]] = api.start[record[known]]
    return np.where(found < api.start, found, FOREVER)


@dataclass(frozen=True)
class _ProcessCalls:
    """The calls of one process, and its synchronisations: `moment` (ns, ascending) and `event`."""

    api: ApiCalls
    own: Flags
    moment: Ints
    event: Ints

    def named(self, rule: Callable[[str], bool]) -> Ints:
        """Return the indices of the calls of a kind, by start."""
        index = np.flatnonzero(self.own & self.api.named(rule))
        return index[np.argsort(self.api.start[index], kind="stable")]

    def with_event(self, rule: Callable[[str], bool]) -> tuple[Ints, Ints]:
        """Return the calls of a kind, by start, and the event of each; calls without exactly one are left out."""
        index = self.named(rule)
        first = np.searchsorted(self.moment, self.api.start[index], side="left")
        past = np.searchsorted(self.moment, self.api.end[index], side="right")
        one = past - first == 1
        return index[one], self.event[first[one]]

    def first_record(self, creation: Ints) -> Ints:
        """Return the first record call after each creation, before the thread's next creation; -1 if there is none."""
        # calls are sorted by thread and start, so the next index is the thread's next call
        records = np.append(np.sort(self.named(name_rules.records_event)), len(self.api))
        created = np.append(np.sort(self.named(name_rules.creates_event)), len(self.api))
        record = records[np.searchsorted(records, creation)]
        before_next = record < created[np.searchsorted(created, creation, side="right")]
        thread = np.append(self.api.thread, -1)
        return np.where(before_next & (thread[record] == self.api.thread[creation]), record, -1)


def _creations(calls: _ProcessCalls) -> tuple[Ints, Ints]:
    """Return the calls that wait for an event whose creation is found, and that creation.

    An event's number less the count of creations so far is the same wherever a stream is made to wait for the newest
    event. Where it is the same at the last such call before the creation, at the first after it, and at the last before
    the wait, the creation is the one with the number that the wait names.
    """
    start = calls.api.start
    creations = calls.named(name_rules.creates_event)
    anchors, newest = calls.with_event(name_rules.orders_stream_after_event)
    waits, event = calls.with_event(name_rules.waits_for_event)
    if not len(creations) or not len(anchors):
        return waits[:0], creations[:0]
    base = newest - np.searchsorted(start[creations], start[anchors])
    last = np.searchsorted(start[anchors], start[waits]) - 1
    nth = event - base[np.maximum(last, 0)] - 1
    creation = creations[np.clip(nth, 0, len(creations) - 1)]
    after = np.searchsorted(start[anchors], start[creation])
    found = (nth >= 0) & (nth < len(creations)) & (after >= 1) & (after <= last)
    stretch = np.append(0, np.cumsum(base[1:] != base[:-1]))
    found &= stretch[np.maximum(after - 1, 0)] == stretch[np.maximum(last, 0)]
    return waits[found], creation[found]
