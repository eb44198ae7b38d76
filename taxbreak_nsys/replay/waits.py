"""The host's waits for the device and the work that each waited for, inferred from the times in the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import EMPTY, Flags, Intervals, Ints, percentile
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import BLOCKING_DEFAULT_NS, MEMORY_LAUNCH
from taxbreak_nsys.model.trace_columns import ApiCalls, name_flags, runs
from taxbreak_nsys.replay.work import NEVER, Work, launches_within


@dataclass(frozen=True)
class Waits:
    """A thread's waits, sorted by time and disjoint; ns since the start of the model's window.

    A wait begins at `start` on the host's clock, takes at least `floor`, and ends no earlier than `lag` after
    each item that it needs: `need_wait`, `need_item` and `need_lag` list these pairs, sorted by wait. `full_queue`
    flags launches that had to wait for room on their stream: unlike a synchronisation, such a wait ends no CUDA graph.
    """

    start: Ints
    end: Ints
    floor: Ints
    need_wait: Ints
    need_item: Ints
    need_lag: Ints
    full_queue: Flags

    def __len__(self) -> int:
        return len(self.start)

    def without(self, which: Flags) -> Waits:
        """Return the waits that are not flagged."""
        number = np.cumsum(~which) - 1
        pair = ~which[self.need_wait]
        return Waits(
            start=self.start[~which],
            end=self.end[~which],
            floor=self.floor[~which],
            need_wait=number[self.need_wait[pair]],
            need_item=self.need_item[pair],
            need_lag=self.need_lag[pair],
            full_queue=self.full_queue[~which],
        )


@dataclass(frozen=True)
class _Candidates:
    """Candidate waits: `launch` is the blocking launch (-1: a call without one), `own` whether it waits for itself.

    A wait is for work launched before `until`: its start, or when the event that it waits for was recorded.
    """

    start: Ints
    until: Ints
    end: Ints
    launch: Ints
    sync: Flags
    own: Flags
    device_wide: Flags
    name: Ints


def find_waits(columns: ReplayColumns, thread: int, low: int, high: int, work: Work, host_bound: Flags) -> Waits:
    """Return the waits of a thread within [low, high).

    A synchronisation waits for work launched before it: the last item of every lane if it is for the whole device, else
    the item that ended last before the wait did. Where the report tells when the event that it waits for was recorded
    (`event_records`), the work was launched before that. A copy that returns after its own operation waits for this
    operation. Any other launch that blocks waits for the last item of its lane that ended before. A kernel launch call
    of more than 50 us without a kernel in the report waits for the item that ended last; so does the end of an instance
    that lasts until its device work is done.
    """
    candidates = _candidates(columns, thread, low, high, work, host_bound)
    wait, item = _needs(candidates, work)
    latest = np.full(len(candidates.start), NEVER, np.int64)
    np.maximum.at(latest, wait, work.end[item])
    duration = candidates.end - candidates.start
    waited = latest > candidates.start
    sync = candidates.sync

    wake = percentile((candidates.end - latest)[sync & waited], 50) or 0
    usual = np.zeros(len(columns.api.names) + 1, np.int64)
    for code in set(candidates.name[sync & ~waited].tolist()):
        usual[code] = percentile(duration[sync & ~waited & (candidates.name == code)], 50) or 0
    floor = np.where(waited, np.where(sync, np.minimum(duration, usual[candidates.name]), 0), duration)
    lag = np.where(waited, candidates.end - latest, np.minimum(wake, candidates.end - latest))
    return Waits(
        start=candidates.start,
        end=candidates.end,
        floor=floor,
        need_wait=wait,
        need_item=item,
        need_lag=lag[wait],
        full_queue=~sync & ~candidates.own,
    )


def _candidates(columns: ReplayColumns, thread: int, low: int, high: int, work: Work, host_bound: Flags) -> _Candidates:
    api, launches = columns.api, columns.launches
    launched = slice(*launches_within(columns, thread, low, high))
    calls = api.thread_slice(thread)
    part = np.searchsorted(api.start[calls], [low, high]) + calls.start
    sync_name = name_flags(name_rules.is_synchronisation, api.names)
    wide_name = name_flags(name_rules.waits_for_whole_device, api.names)
    sync = np.flatnonzero(sync_name[api.name[part[0] : part[1]]]) + part[0]
    sync = sync[~np.isin(sync, launches.api[launched])]
    stuck = _stuck(api, part, launches.api[launched])
    drain_start, drain_end = _drains(columns, thread, low, high, work)

    own_work = np.flatnonzero(work.own)
    nth = work.launch[own_work] - launched.start
    first_start, last_end = (
        np.full(launched.stop - launched.start, -NEVER),
        np.full(launched.stop - launched.start, NEVER),
    )
    np.minimum.at(first_start, nth, work.start[own_work])
    np.maximum.at(last_end, nth, work.end[own_work])
    held_back = np.zeros(len(first_start), bool)
    held_back[nth[host_bound[own_work]]] = True

    start, end = launches.start[launched] - low, launches.end[launched] - low
    named = sync_name[api.name[launches.api[launched]]]
    own = ((launches.kind[launched] == MEMORY_LAUNCH) | named) & (last_end > NEVER) & (end >= last_end)
    blocked = launches.wait_until[launched] - low
    # a copy that met an idle stream is host work until it starts there; one in the queue waits from its call on
    begin = np.where(own & held_back & ~named, np.maximum(start, np.minimum(first_start, end)), start)
    index = np.flatnonzero(own | (blocked > start))

    alone = np.r_[sync, stuck]
    start = np.r_[api.start[alone] - low, drain_start, begin[index]]
    until = start.copy()
    if columns.recorded is not None:
        until[: len(alone)] = np.minimum(start[: len(alone)], columns.recorded[alone] - low)
    end = np.r_[api.end[alone] - low, drain_end, np.where(own, end, blocked)[index]]
    without_launch = len(alone) + len(drain_start)
    launch = np.r_[np.full(without_launch, -1, np.int64), index + launched.start]
    is_sync = np.arange(len(start)) < len(sync)
    is_own = np.r_[np.zeros(without_launch, bool), own[index]]
    wide = np.r_[wide_name[api.name[alone]], np.zeros(len(start) - len(alone), bool)] & is_sync
    name = np.r_[api.name[alone], np.full(len(start) - len(alone), len(api.names), np.int64)]
    inside = (end <= high - low) & (end > start)
    order = np.flatnonzero(inside)[np.argsort(start[inside], kind="stable")]
    return _Candidates(
        start=start[order],
        until=until[order],
        end=end[order],
        launch=launch[order],
        sync=is_sync[order],
        own=is_own[order],
        device_wide=wide[order],
        name=name[order],
    )


def _drains(columns: ReplayColumns, thread: int, low: int, high: int, work: Work) -> Intervals:
    """Return (start, end) of the waits at the ends of instances that last until their device work is done.

    Such an instance is a cycle (method section 2.1) whose mark has ended and whose thread makes no more API calls: it
    ends with its device work.
    """
    api, instances = columns.api, columns.instances
    chosen = instances.cycle & (instances.thread == thread) & (instances.end > low) & (instances.end <= high)
    if not chosen.any():
        return EMPTY
    end, marked = instances.end[chosen] - low, instances.mark_end[chosen] - low
    lasts = np.isin(end, work.end[work.own])
    end, marked = end[lasts], marked[lasts]
    calls = api.thread_slice(thread)
    # calls of one thread do not overlap, so the last one that starts before the end also ends last
    before = np.searchsorted(api.start[calls], end + low) - 1
    called = api.end[calls][np.maximum(before, 0)] - low if len(api.end[calls]) else end
    start = np.maximum(np.where(before >= 0, called, end), marked)
    return start[start < end], end[start < end]


def _stuck(api: ApiCalls, part: Ints, launching: Ints) -> Ints:
    """Return the indices of long kernel launch calls without a kernel in the report: a full queue blocked them.

    The limit is the default limit for launches that block (method section 3, fewer than five calls on an idle stream).
    """
    named = name_flags(name_rules.is_kernel_launch, api.names)
    calls = np.flatnonzero(named[api.name[part[0] : part[1]]]) + part[0]
    calls = calls[api.end[calls] - api.start[calls] > BLOCKING_DEFAULT_NS]
    return calls[~np.isin(calls, launching)]


def _needs(candidates: _Candidates, work: Work) -> tuple[Ints, Ints]:
    """Return (wait, item) pairs, sorted by wait: the items that each wait needs."""
    count = len(candidates.start)
    lanes = runs(work.lane)
    last = np.full((len(lanes), count), -1, np.int64)
    end = np.full((len(lanes), count), NEVER, np.int64)
    for number, (low, high) in enumerate(lanes):
        launched = np.searchsorted(work.called[low:high], candidates.until, side="left")
        ended = np.searchsorted(np.maximum.accumulate(work.end[low:high]), candidates.end, side="right")
        index = np.minimum(launched, ended) - 1
        last[number] = np.where(index >= 0, index + low, -1)
        end[number] = np.where(index >= 0, work.end[np.maximum(index, 0) + low], NEVER)
    if not lanes or not count:
        return np.empty(0, np.int64), np.empty(0, np.int64)

    chosen = end.argmax(axis=0)
    blocked = np.flatnonzero((candidates.launch >= 0) & ~candidates.own)
    if len(blocked):
        by_launch = np.argsort(work.launch, kind="stable")
        at = np.searchsorted(work.launch[by_launch], candidates.launch[blocked])
        chosen[blocked] = work.lane[by_launch[at]]
    wanted = np.zeros((len(lanes), count), bool)
    wanted[chosen, np.arange(count)] = True
    wanted[:, candidates.device_wide] = True
    wanted[:, candidates.own] = False
    row, wait = np.nonzero(wanted & (last >= 0))
    item = last[row, wait]

    itself = np.flatnonzero(candidates.own)
    if len(itself):
        itself = itself[np.argsort(candidates.launch[itself], kind="stable")]
        at = np.minimum(np.searchsorted(candidates.launch[itself], work.launch), len(itself) - 1)
        self_item = np.flatnonzero(candidates.launch[itself][at] == work.launch)
        wait, item = np.r_[wait, itself[at[self_item]]], np.r_[item, self_item]
    order = np.argsort(wait, kind="stable")
    return wait[order], item[order]
