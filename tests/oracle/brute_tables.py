"""A slow twin of the tables of gaps, ranges and kernel classes: plain Python over single intervals.

It takes the host's states from the program's own listing of them (`taxbreak_trace`, which has a twin of its own) and
everything else from the file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import Any

from taxbreak_nsys.model.kernel_classes import classify
from taxbreak_nsys.model.kernel_names import short_name
from taxbreak_nsys.model.range_names import range_label
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes
from tests.oracle import brute_force

TID = 0xFFFFFF
OPERATION_NAMES = {"memcpy": "(memory copy)", "memset": "(memory set)", "graph": "(CUDA graph)"}
STATE_ORDER = (
    *("profiler", "device_wait", "launch", "memop", "module_load", "os_wait"),
    *("library", "runtime", "dispatch", "python"),
)


class BruteTables:
    """`intervals` are the rows of `taxbreak_trace`: start, duration, state, phase, instance, PID, TID."""

    def __init__(self, path: str, intervals: list[dict[str, Any]]) -> None:
        report = brute_force.Report(path)
        self.report = report
        self.ops = brute_force.read_device_ops(report)
        self.launches = brute_force.find_launches(brute_force.read_api_calls(report), self.ops)
        self.instances: dict[tuple[str, int, int, int], list[tuple[int, int, str]]] = defaultdict(list)
        for row in intervals:
            key = (row["Phase"], row["PID"], row["TID"], row["Instance"])
            self.instances[key].append((row["Start (ns)"], row["Start (ns)"] + row["Duration (ns)"], row["State"]))
        self.by_thread: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        for launch in self.launches:
            thread = launch["globalTid"]
            self.by_thread[(thread >> 24) & TID, thread & TID].append(launch)
        self.ranges: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        for row in brute_force.read_ranges(report)[0]:
            self.ranges[(row["globalTid"] >> 24) & TID, row["globalTid"] & TID].append(row)
        self.classes = load_kernel_classes()

    def launches_in(self, key: tuple[str, int, int, int]) -> list[dict[str, Any]]:
        spans = self.instances[key]
        starts = [start for start, _, _ in spans]
        found = []
        for launch in self.by_thread[key[1], key[2]]:
            if not spans[0][0] <= launch["start"] < spans[-1][1]:
                continue
            at = bisect_right(starts, launch["start"]) - 1
            if at >= 0 and launch["start"] < spans[at][1]:
                found.append(launch)
        return found

    def with_helpers(self, key: tuple[str, int, int, int]) -> list[dict[str, Any]]:
        """The launches of an instance and those that threads without instances of their own make during it."""
        spans = self.instances[key]
        hosts = {(pid, tid) for _, pid, tid, _ in self.instances}
        return self.launches_in(key) + [
            launch
            for (pid, tid), launches in self.by_thread.items()
            if pid == key[1] and (pid, tid) not in hosts
            for launch in launches
            if spans[0][0] <= launch["start"] < spans[-1][1]
        ]

    def idle(self, key: tuple[str, int, int, int]) -> list[tuple[int, int]]:
        """The time in which no device that the instance's launches use is at work."""
        devices = {op["deviceId"] for launch in self.with_helpers(key) for op in launch["ops"]}
        busy = brute_force.union([(op["start"], op["end"]) for op in self.ops if op["deviceId"] in devices])
        edges = [-(2**62), *(moment for interval in busy for moment in interval), 2**62]
        low, high = self.instances[key][0][0], self.instances[key][-1][1]
        free = [(edges[k], edges[k + 1]) for k in range(0, len(edges), 2)]
        return [(start, end) for start, end in free if end > low and start < high]

    def paths(self, thread: tuple[int, int], moments: list[int]) -> dict[int, str]:
        """The names of the ranges that are open at each moment, outermost first, joined by `/`."""
        waiting = sorted(self.ranges[thread], key=lambda r: (-r["start"], r["end"]))
        held: list[dict[str, Any]] = []
        found = {}
        for moment in sorted(set(moments)):
            while waiting and waiting[-1]["start"] <= moment:
                held.append(waiting.pop())
            held = [r for r in held if r["end"] > moment]
            found[moment] = "/".join(map(label_of, held)) or "(no range)"
        return found

    def gaps(self) -> dict[tuple[Any, ...], list[int]]:
        """Lengths by (phase, process, thread, state that fills most, name of what ended the gap)."""
        found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for key in self.instances:
            devices = {op["deviceId"] for launch in self.with_helpers(key) for op in launch["ops"]}
            ops = sorted((op for op in self.ops if op["deviceId"] in devices), key=lambda op: op["start"])
            starts = [op["start"] for op in ops]
            for low, high in self.idle(key):
                for part in contiguous(clipped(self.instances[key], low, high)):
                    times: dict[str, int] = defaultdict(int)
                    for start, end, state in part:
                        times[state] += end - start
                    state = max(times, key=lambda name: (times[name], -STATE_ORDER.index(name)))
                    after = bisect_left(starts, part[-1][1])
                    name = self.op_name(ops[after]) if after < len(ops) else None
                    found[(*key[:3], state, name)].append(part[-1][1] - part[0][0])
        return {cause: sorted(lengths) for cause, lengths in found.items()}

    def op_name(self, op: dict[str, Any]) -> str:
        if op["kind"] == "kernel":
            return short_name(brute_force.kernel_name(self.report, op))
        return OPERATION_NAMES[op["kind"]]

    def range_rows(self) -> dict[tuple[Any, ...], dict[str, int]]:
        """Own figures by (phase, process, thread, path)."""
        found: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for key, spans in self.instances.items():
            thread = key[1], key[2]
            edges = sorted({moment for r in self.ranges[thread] for moment in (r["start"], r["end"])})
            idle = self.idle(key)
            idle_starts = [low for low, _ in idle]
            cells = []
            for start, end, _ in spans:
                cuts = [start, *edges[bisect_right(edges, start) : bisect_left(edges, end)], end]
                cells += list(pairwise(cuts))
            launches = self.with_helpers(key)
            path_at = self.paths(thread, [low for low, _ in cells])
            for low, high in cells:
                row = found[(*key[:3], path_at[low])]
                row["self_ns"] += high - low
                first = max(bisect_right(idle_starts, low) - 1, 0)
                for begin, stop in idle[first:]:
                    if begin >= high:
                        break
                    row["self_exposed_ns"] += max(0, min(stop, high) - max(begin, low))
            by_thread = defaultdict(list)
            for launch in launches:
                by_thread[(launch["globalTid"] >> 24) & TID, launch["globalTid"] & TID].append(launch["start"])
            path_of = {by: self.paths(by, starts) for by, starts in by_thread.items()}
            for launch in launches:
                by = (launch["globalTid"] >> 24) & TID, launch["globalTid"] & TID
                row = found[(*key[:3], path_of[by][launch["start"]])]
                row["self_launches"] += 1
                for op in launch["ops"]:
                    row["self_kernels"] += op["kind"] == "kernel"
                    row["self_device_ns"] += (op["end"] - op["start"]) * (op["kind"] in ("kernel", "graph"))
        return {key: dict(row) for key, row in found.items()}

    def class_rows(self) -> dict[tuple[Any, ...], dict[str, int]]:
        """Device time, launches and exposed launch time by (phase, process, thread, class)."""
        found: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for key, spans in self.instances.items():
            launches = self.launches_in(key)
            for launch in self.with_helpers(key):
                for op in launch["ops"]:
                    row = found[(*key[:3], self.op_class(op))]
                    row["operations"] += 1
                    row["device_ns"] += op["end"] - op["start"]
                found[(*key[:3], self.launch_class(launch))]["launches"] += 1
            idle = self.idle(key)
            for launch in launches:
                row = found[(*key[:3], self.launch_class(launch))]
                for start, end, state in clipped(spans, launch["start"], launch["end"]):
                    if state in ("launch", "memop"):
                        row["launch_ns"] += end - start
                        first = bisect_right(idle, start, key=lambda gap: gap[1])
                        last = bisect_left(idle, end, key=lambda gap: gap[0])
                        row["exposed_launch_ns"] += sum(
                            min(stop, end) - max(begin, start) for begin, stop in idle[first:last]
                        )
        return {key: dict(row) for key, row in found.items()}

    def fusion(self) -> dict[tuple[Any, ...], list[int]]:
        """(runs, saved, saved at most) by (phase, process, thread, kernels of a run)."""
        found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for key, spans in self.instances.items():
            idle = self.idle(key)
            run: list[tuple[str, int, int]] = []
            last: dict[str, Any] | None = None
            for launch in [*self.launches_in(key), None]:
                candidate = self.candidate(launch, spans, idle) if launch else None
                if last and launch:
                    between = clipped(spans, last["start"] + 1, launch["start"] + 1)
                    if any(state == "device_wait" and start > last["start"] for start, _, state in between):
                        self.close(found, key, run)
                        run = []
                if candidate is None:
                    self.close(found, key, run)
                    run = []
                else:
                    path = exposed_between(idle, spans, last["end"], launch["end"]) if last and launch else 0
                    run.append((*candidate, path))
                last = launch
        return dict(found)

    def candidate(
        self, launch: dict[str, Any], spans: list[tuple[int, int, str]], idle: list[tuple[int, int]]
    ) -> tuple[str, int] | None:
        ops = launch["ops"]
        if launch["kind"] != "kernel" or len(ops) != 1 or ops[0]["end"] - ops[0]["start"] > 10_000:
            return None
        called = [s for s in clipped(spans, launch["start"], launch["end"]) if s[2] in ("launch", "memop")]
        exposed = sum(exposed_between(idle, [span], span[0], span[1]) for span in called)
        if not exposed or self.op_class(ops[0]) in ("gemm", "attention", "moe", "communication"):
            return None
        return self.op_name(ops[0]), exposed

    @staticmethod
    def close(
        found: dict[tuple[Any, ...], list[int]], key: tuple[str, int, int, int], run: list[tuple[str, int, int]]
    ) -> None:
        if len(run) > 1:
            sums = found[(*key[:3], tuple(name for name, _, _ in run))]
            sums[0] += 1
            sums[1] += sum(exposed for _, exposed, _ in run[1:])
            sums[2] += sum(path for _, _, path in run[1:])

    def op_class(self, op: dict[str, Any]) -> str:
        if op["kind"] == "kernel":
            return classify([brute_force.kernel_name(self.report, op)], self.classes)[0]
        return "cuda_graph" if op["kind"] == "graph" else "memory"

    def launch_class(self, launch: dict[str, Any]) -> str:
        if launch["kind"] == "memory":
            return "memory"
        if launch["kind"] != "kernel":
            return "cuda_graph"
        return self.op_class(next(op for op in launch["ops"] if op["kind"] == "kernel"))


def label_of(row: dict[str, Any]) -> str:
    text = row["text"] or ""
    if row["is_operator"]:
        text = text.split(", op_id")[0].split(", seq")[0].split(", sizes")[0]
    return range_label(text)


def clipped(spans: list[tuple[int, int, str]], low: int, high: int) -> list[tuple[int, int, str]]:
    first = bisect_right(spans, low, key=lambda span: span[1])
    last = bisect_left(spans, high, key=lambda span: span[0])
    return [(max(s, low), min(e, high), state) for s, e, state in spans[first:last]]


def contiguous(spans: list[tuple[int, int, str]]) -> list[list[tuple[int, int, str]]]:
    """Stretches of spans that follow each other without a break: another instance may lie between."""
    parts: list[list[tuple[int, int, str]]] = []
    for span in spans:
        if parts and parts[-1][-1][1] == span[0]:
            parts[-1].append(span)
        else:
            parts.append([span])
    return parts


def exposed_between(idle: list[tuple[int, int]], spans: list[tuple[int, int, str]], low: int, high: int) -> int:
    return sum(
        max(0, min(stop, end) - max(begin, start))
        for start, end, _ in clipped(spans, low, high)
        for begin, stop in idle[bisect_right(idle, start, key=lambda gap: gap[1]) :]
        if begin < end
    )
