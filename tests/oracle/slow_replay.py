"""The replay of one thread by the plainest means: one moment after another, written from docs/whatif.md."""

from __future__ import annotations

from taxbreak_nsys.replay.thread_model import ThreadModel

NOTHING = float("-inf")


def replay(model: ThreadModel, host: list[float], scale: list[float]) -> tuple[list[float], list[tuple[float, float]]]:
    """Return when the model's knots come, and start and end of each item."""
    knots, waits, work = model.knots.tolist(), model.waits, model.work

    def own(low: int, high: int) -> float:
        return sum(
            factor * max(0, min(high, stop) - max(low, start))
            for start, stop, factor in zip(knots[:-1], knots[1:], host, strict=True)
        )

    pairs = zip(model.followers.leader, model.followers.gap, strict=True)
    followers = dict(zip(model.followers.item.tolist(), pairs, strict=True))
    launched: dict[int, float] = {}
    items: dict[int, tuple[float, float]] = {}
    now, last = 0.0, 0
    stretches: list[tuple[int, float]] = []
    for k in range(len(waits) + 1):
        stretches.append((last, now))
        until = waits.start[k] if k < len(waits) else knots[-1] + 1
        for j in range(len(work)):
            if last <= model.anchor[j] <= until and j not in items:
                if k and model.anchor[j] == waits.start[k - 1] < last:
                    continue
                before = NOTHING
                if not work.first[j]:
                    before = items[j - 1][1]
                elif work.previous_end[j] > -(2**60):
                    before = float(work.previous_end[j])
                launched[j] = now + own(last, int(model.anchor[j]))
                if j in followers:
                    # the lane goes on as if it were not there
                    items[j] = (before, before)
                    continue
                start = max(launched[j] + model.latency[j], before + model.gap[j])
                length = work.busy[j] * scale[j] + (work.end[j] - work.start[j] - work.busy[j])
                end = start + length
                if work.met[j] > -(2**60):
                    # the slower rank comes when it came: only the work after that is changed
                    after = work.busy_after[j]
                    end = max(end, work.met[j] + after * scale[j] + (work.end[j] - work.met[j] - after))
                items[j] = (end - length, end)
        if k < len(waits):
            now += own(last, int(waits.start[k])) + waits.floor[k]
            for wait, item, lag in zip(waits.need_wait, waits.need_item, waits.need_lag, strict=True):
                if wait == k:
                    now = max(now, items[int(item)][1] + lag)
            last = int(waits.end[k])
    for j, (leader, gap) in followers.items():
        length = work.busy[j] * scale[j] + (work.end[j] - work.start[j] - work.busy[j])
        start = max(launched[j], items[int(leader)][1] + gap)
        items[j] = (start, start + length)
    times = []
    for knot in knots:
        k = sum(1 for end in waits.end if end <= knot)
        begin, at = stretches[k]
        if k < len(waits) and knot > waits.start[k]:
            reached = at + own(begin, int(waits.start[k]))
            times.append(max(reached, stretches[k + 1][1] - (int(waits.end[k]) - knot)))
        else:
            times.append(at + own(begin, knot))
    return times, [items[j] for j in range(len(work))]
