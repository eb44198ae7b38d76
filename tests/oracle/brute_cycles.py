"""The slow, obvious twin of method.md, sections 2.1 (cycles), 2.2 (host thread, helpers) and 2.3 (ranks).

Plain lists of rows, standard library alone. The rows, launches and states of a thread come from `brute_force`,
the twin of the other sections; the texts of the engines' marks come from `engines.toml`, which is data.

    python -m tests.oracle.brute_cycles REPORT [--totals]

prints, as JSON, what the program must give for the report. Times are integer ns, intervals half-open [start, end).

Where the text is unclear, this is what was read into it (C7 in a comment points here):

C1   Which marks. The first engine of the file with a mark in a process that launches, and that engine's first
     pattern with a mark there. Ranges of libraries are not searched. Of marks that overlap on one thread, the
     outermost are the steps: a module inside a module is no step.
C2   Whose marks. A thread that makes kernel or graph launches and marks has cycles of its own. Only where no
     such thread of a process marks, the marks of its other threads (copies alone, or no launch) are taken:
     the cycles of each, and of cycles that overlap the outermost, over these threads together. So a step that
     an engine thread and a worker thread both mark has one wall. Two threads that both mark and launch kernels
     stay apart, with a wall each, as replicas in threads do.
C3   Launches of a thread that has no cycles of its own go to the cycle of its process that holds their start;
     where cycles of several threads do, to the outermost, chosen over all cycles of the process together.
     Launches of a thread with cycles of its own are never another thread's.
C4   "No requests" is a mark whose numbers add up to no request, or whose mode says so. Only a mark with
     numbers, or with a mode, can be idle.
C5   Host thread and end of a last cycle need each other. The launches that decide both are those that start
     before the idle mark or the end. The device ops that count for the end are those of all of them, helpers'
     too. The last API call is any API call of the host thread, cudaProfilerStop too, as it is written.
C6   A last cycle may run past the start of its idle mark (in real reports it does: the device still works), but
     never past the next mark with requests. Launches between the idle mark and that end are the cycle's.
C7   The time of an idle mark goes to the next mark of its thread; the last mark's to its own end. What a cycle
     still takes of it (C6) is not idle: `idle_ns`. `idle_marked_ns` is without that deduction.
     The time between a cycle's end and its idle mark is in neither.
C8   `range_ns` is the mark alone, without the ranges that an engine puts behind it (`tail` in the file), and
     only its part inside the cycle.
C9   A host thread "makes at least half" also where nobody launches. Of threads with equally many launches the
     lowest id is the host.
C10  `helpers_ns`: of each helper, its states over the whole cycle; a thread is a helper of a cycle in which at
     least one launch of it (also of copies) starts. A thread that marks and neither launches nor hosts is none.
C11  Device active: kernels and graphs by their launch, to their end, past the cycle's too. Busy and exposed:
     over the cycle, device ops of any kind, launch and process, on the devices that the cycle's launches use.
C12  A communication op matches by its short name, or by a part of its full name between "::"; upper and lower
     case are one. Its name for pairing is the full name.
C13  Pairing compares cycles, not marks: marks of a rank that runs ahead need not overlap (vllm-tp2: never).
     The k-th cycle of one goes with the k-th of the other. Where the numbers differ, the sequences are shifted so
     that most pairs agree; all of the common part must agree and be at least half of the shorter sequence.
     Cycles of one step need not overlap either (a capture of two ranks, nsys 2024: 4 of 34 do not, by up to an
     eighth of a step): they may lie side by side, if half of the pairs overlap or both have all steps.
C14  A rank is a marking thread and a device. Threads of one process are ranks of each other only where the
     devices that they use differ.
C15  Waiting is the beginning of a collective: an op of d ns that waits w runs for its last d - w.
C16  One collective of a step that has no partner (numbers of a name differ, no other rank) makes `comm_wait_ns`
     of that step null on the ranks that have communication at all, and no op of the step is cut. A step without
     communication on any rank waits 0.
C17  Slowest rank of a step: least `comm_wait`; where that is null or equal, the longest wall, then the lowest
     process and thread. Steps outside the common part are in no figure of the group.
C18  Skew: latest less earliest start of each paired collective of the phase.
C19  Labels. Where a mark has neither numbers nor a label (kernels name its steps), the label here is `step`.
C20  An unmeasured graph launch makes active, busy, idle and exposed time of its cycle null.
C21  A device is a physical one: by TARGET_INFO_CUDA_DEVICE where the report has it. Else equal numbers in two
     processes are one device, but for ranks with paired collectives, which never share a device
     (CUDA_VISIBLE_DEVICES hides the others from each).
"""

import fnmatch
import json
import re
import sys
import tomllib
from bisect import bisect_left, bisect_right
from pathlib import Path

from tests.oracle import brute_force
from tests.oracle.brute_force import STATES, TID, overlap, percentile, total, union

ENGINES = Path(__file__).resolve().parents[2] / "taxbreak_nsys" / "data" / "engines.toml"
COMMUNICATION = ("nccl*", "cross_device_reduce*", "*all_reduce*", "multimem*", "nvshmem*", "deep_ep*")
COMPUTE = ("kernel", "graph", "unmeasured_graph")
KINDS = ("kernel", "graph", "memory", "unmeasured_graph")
COUNTS = ("context_requests", "context_tokens", "generation_requests", "generation_tokens", "requests", "tokens")


# ------------------------------------------------------------------ marks


def step_of_mark(mark, match):
    """(label, numbers) of a range that is a mark."""
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    numbers = {name: int(groups[name]) for name in COUNTS if name in groups}
    requests = [value for name, value in numbers.items() if name.endswith("requests")]
    if requests and sum(requests) == 0:
        return "idle", numbers  # C4
    if "phase" in mark:
        return mark["phase"], numbers
    if "phases" in mark:
        return mark["phases"].get(groups.get("mode"), "step"), numbers
    if "label" in groups:
        return groups["label"], numbers
    context, generation = numbers.get("context_requests", 0), numbers.get("generation_requests", 0)
    if context and generation:
        return "mixed", numbers
    if context or generation:
        return ("prefill" if context else "decode"), numbers
    return "step", numbers  # C19


def find_marks(ranges, processes):
    """(engine, index of its pattern, {thread: [mark in order]}) of the report; (None, None, {}) without (C1)."""
    candidates = [r for r in ranges if r["text"] and not r["is_library"] and r["globalTid"] & ~TID in processes]
    with open(ENGINES, "rb") as file:
        engines = tomllib.load(file)["engine"]
    for engine in engines:
        for number, mark in enumerate(engine["mark"]):
            matched = [(r, re.search(mark["text"], r["text"])) for r in candidates]
            matched = [(r, match) for r, match in matched if match]
            if not matched:
                continue
            threads = {}
            for r, match in matched:
                label, numbers = step_of_mark(mark, match)
                step = {"label": label, "numbers": numbers, "text": r["text"], "thread": r["globalTid"]}
                step |= {"start": r["start"], "end": r["end"], "order": r["order"]}
                threads.setdefault(step["thread"], []).append(step)
            return engine["name"], number, {t: brute_force.outermost_of(steps) for t, steps in threads.items()}
    return None, None, {}


# ------------------------------------------------------------------ cycles


def first_cycles(marks):
    """Cycles and idle times of one thread. A last cycle's end is None; `limit` is the idle mark or None."""
    cycles, idle = [], []
    for number, mark in enumerate(marks):
        later = marks[number + 1 :]
        following = later[0]["start"] if later else None
        if mark["label"] == "idle":
            end = following if later else mark["end"]  # C7
            idle.append({"thread": mark["thread"], "start": mark["start"], "end": end})
            continue
        cycle = dict(mark, mark_end=mark["end"], limit=following, cap=None)
        if not later or later[0]["label"] == "idle":
            cycle["end"] = None
            cycle["cap"] = next((m["start"] for m in later if m["label"] != "idle"), None)  # C6
        else:
            cycle["end"] = following
        cycles.append(cycle)
    return cycles, idle


def holds(cycle, time):
    """Does a cycle, or a last cycle up to its idle mark, hold a time?"""
    end = cycle["end"] if cycle["end"] is not None else cycle["limit"]
    return cycle["start"] <= time and (end is None or time < end)


def choose_host(cycle, launches):
    """The host thread of a cycle from the launches that are its own (section 2.2)."""
    made = {}
    for launch in launches:
        if launch["kind"] in COMPUTE:
            made[launch["globalTid"]] = made.get(launch["globalTid"], 0) + 1
    if 2 * made.get(cycle["thread"], 0) >= sum(made.values()):
        return cycle["thread"]
    return min(made, key=lambda thread: (-made[thread], thread))


def outermost_cycles(cycles):
    """Of cycles that overlap, the outermost. An open end reaches to the idle mark, or for ever."""
    reach = max([c["end"] or c["limit"] or c["mark_end"] for c in cycles], default=0)
    spans = []
    for cycle in cycles:
        end = cycle["end"] if cycle["end"] is not None else cycle["limit"]
        spans.append({"start": cycle["start"], "end": reach if end is None else end, "order": cycle["order"]})
        spans[-1]["cycle"] = cycle
    return [span["cycle"] for span in brute_force.outermost_of(spans)]


def close_cycle(cycle, launches, api_calls):
    """Sets the host of a cycle, and the end of a last one, from the launches up to the idle mark or the end (C5)."""
    cycle["host"] = choose_host(cycle, launches)
    if cycle["end"] is not None:
        return
    calls = [call["end"] for call in api_calls.get(cycle["host"], []) if holds(cycle, call["start"])]
    ops = [op["end"] for launch in launches for op in launch["ops"]]
    cycle["end"] = max([cycle["mark_end"], *calls, *ops])
    if cycle["cap"] is not None:
        cycle["end"] = min(cycle["end"], cycle["cap"])


def cycles_of_process(process, marks, launches, api_calls):
    """Cycles of a process with their launches, host and end; and its idle times."""
    computing = {launch["globalTid"] for launch in launches if launch["kind"] in COMPUTE}
    owners = [thread for thread in marks if thread in computing]  # C2
    cycles, idle = [], []
    for thread in owners or marks:
        cycles_of_thread, idle_of_thread = first_cycles(marks[thread])
        cycles += cycles_of_thread
        idle += idle_of_thread
    shared = outermost_cycles(cycles)
    if not owners:
        cycles = shared
        idle = [span for span in idle if span["thread"] in {c["thread"] for c in cycles}]

    def held_launches(cycle):
        return [
            launch
            for launch in launches
            if holds(cycle, launch["start"])
            and (launch["globalTid"] == cycle["thread"] or launch["globalTid"] not in owners)
            and (launch["globalTid"] in owners or any(cycle is other for other in shared))  # C3
        ]

    for cycle in cycles:
        cycle["process"] = process
        cycle["owner"] = cycle["thread"] in owners
        close_cycle(cycle, held_launches(cycle), api_calls)
    taken = set()
    for cycle in sorted(cycles, key=lambda c: (c["start"], c["thread"])):
        cycle["launches"] = [launch for launch in held_launches(cycle) if id(launch) not in taken]
        taken |= {id(launch) for launch in cycle["launches"]}
    return cycles, idle


def find_cycles(marks, launches, api_calls):
    """All cycles of the report, in order of process, thread and start; and all idle times."""
    cycles, idle = [], []
    for process in sorted({launch["globalTid"] & ~TID for launch in launches}):
        cycles_here, idle_here = cycles_of_process(
            process,
            {thread: marks[thread] for thread in sorted(marks) if thread & ~TID == process},
            [launch for launch in launches if launch["globalTid"] & ~TID == process],
            api_calls,
        )
        cycles += cycles_here
        idle += idle_here
    for span in idle:
        taken = [
            (max(c["start"], span["start"]), min(c["end"], span["end"]))
            for c in cycles
            if c["thread"] == span["thread"]
        ]
        span["ns"] = span["end"] - span["start"] - total(union(taken))  # C7
    cycles.sort(key=lambda c: (c["process"], c["thread"], c["start"]))
    return cycles, idle


# ------------------------------------------------------------------ ranks and communication


def is_communication(report, op):
    """Is a device op a kernel of a collective library (C12)?"""
    if op["kind"] != "kernel":
        return False
    full = report.strings.get(op["demangledName"]) or ""
    names = [report.strings.get(op["shortName"]) or ""]
    names += re.sub(r"^void ", "", re.split(r"[<(]", full)[0]).split("::")
    return any(fnmatch.fnmatchcase(name.strip().lower(), p) for name in names if name for p in COMMUNICATION)


def communication_ops(cycle):
    """The communication ops of a cycle's launches, in order of start."""
    ops = [op for launch in cycle["launches"] for op in launch["ops"] if op["communication"]]
    return sorted(ops, key=lambda op: (op["start"], op["end"], op["order"]))


def beside(a, b):
    """Do two cycles overlap, or does less than the shorter of them lie between them?"""
    gap = max(a["start"], b["start"]) - min(a["end"], b["end"])
    return gap < min(a["end"] - a["start"], b["end"] - b["start"])


def best_shift(left, right):
    """The shift of `right` against `left` under which the common part pairs up one to one; None without (C13)."""
    best = None
    for shift in range(-len(left) + 1, len(right)):
        pairs = [(a, right[i + shift]) for i, a in enumerate(left) if 0 <= i + shift < len(right)]
        agree = all(a["label"] == b["label"] and beside(a, b) for a, b in pairs)
        overlapping = sum(a["start"] < b["end"] and b["start"] < a["end"] for a, b in pairs)
        whole = shift == 0 and len(left) == len(right)
        agree = agree and overlapping > 0 and (whole or 2 * overlapping >= len(pairs))
        if agree and 2 * len(pairs) >= min(len(left), len(right)):
            rank = (len(pairs), -abs(shift), -shift)
            if best is None or rank > best[0]:
                best = (rank, shift)
    return None if best is None else best[1]


def find_groups(cycles):
    """Groups of paired sequences: [{members: [sequence key], steps: [[cycle of each member]], counts}]."""
    sequences = {}
    for cycle in cycles:
        key = (cycle["process"], cycle["thread"] if cycle["owner"] else None)
        sequences.setdefault(key, []).append(cycle)
    devices = {
        key: {op["deviceId"] for c in sequence for launch in c["launches"] for op in launch["ops"]}
        for key, sequence in sequences.items()
    }
    groups = []
    for key, sequence in sequences.items():
        sequence.sort(key=lambda c: c["start"])
        for group in groups:
            first = group["members"][0]
            apart = all(other[0] != key[0] or not devices[other] & devices[key] for other in group["members"])  # C14
            shift = best_shift(sequences[first], sequence) if apart else None
            if shift is not None:
                group["members"].append(key)
                group["shifts"].append(shift)
                break
        else:
            groups.append({"members": [key], "shifts": [0]})
    groups = [group for group in groups if len(group["members"]) > 1]
    for group in groups:
        group["counts"] = [len(sequences[key]) for key in group["members"]]
        group["steps"] = []
        for number in range(group["counts"][0]):
            places = [number + shift for shift in group["shifts"]]
            if all(0 <= place < count for place, count in zip(places, group["counts"], strict=True)):
                group["steps"].append([sequences[k][p] for k, p in zip(group["members"], places, strict=True)])
    return groups


def pair_collectives(report, cycles):
    """Sets `wait` of the communication ops of one step and what it comes to; returns the spans of arrival (C16)."""
    queues = {}  # rank -> name -> ops in order
    for cycle in cycles:
        for op in communication_ops(cycle):
            rank = (cycle["process"], cycle["thread"], op["deviceId"])
            name = brute_force.kernel_name(report, op)
            queues.setdefault(rank, {}).setdefault(name, []).append(op)
    ranks = list(queues)
    reason = None
    if not queues:
        pass
    elif len(ranks) < 2 or any(not communication_ops(cycle) for cycle in cycles):
        reason = "no partner"
    elif any({n: len(q) for n, q in queues[r].items()} != {n: len(q) for n, q in queues[ranks[0]].items()}
             for r in ranks):  # fmt: skip
        reason = "numbers differ"
    arrivals = []
    if reason is None:
        for name, first in queues[ranks[0]].items() if ranks else ():
            for k in range(len(first)):
                same = [queues[rank][name][k] for rank in ranks]
                shortest = min(op["end"] - op["start"] for op in same)
                for op in same:
                    op["wait"] = op["end"] - op["start"] - shortest
                arrivals.append(max(op["start"] for op in same) - min(op["start"] for op in same))
    for cycle in cycles:
        own = communication_ops(cycle)
        cycle["comm_ns"] = sum(op["end"] - op["start"] for op in own)
        cycle["comm_wait_ns"] = None if reason and own else sum(op["wait"] for op in own)
        cycle["comm_reason"] = reason if own else None
    return arrivals


def name_devices(report, ops):
    """Sets `device` of each op to the physical device, or else to the number that its process gave it (C21)."""
    physical = {
        (row["pid"], row["cudaId"]): row["gpuId"]
        for row in report.rows("TARGET_INFO_CUDA_DEVICE", "pid", "cudaId", "gpuId")
        if row["gpuId"] is not None
    }
    for op in ops:
        key = ((op["globalPid"] >> 24) & TID, op["deviceId"])
        op["device"] = ("gpu", physical[key]) if key in physical else ("number", op["deviceId"])


def part_devices(groups, ops):
    """Ranks with paired collectives have a device each, also where their numbers are the same (C21)."""
    for group in groups:
        processes = {key[0] for key in group["members"]}
        of_group = [op for op in ops if op["globalPid"] in processes]
        users = {}
        for op in of_group:
            users.setdefault(op["device"], set()).add(op["globalPid"])
        if any(group["arrivals"]):
            for op in of_group:
                if op["device"][0] == "number" and len(users[op["device"]]) > 1:
                    op["device"] = ("number", op["deviceId"], op["globalPid"])


# ------------------------------------------------------------------ what a cycle holds


class Threads:
    """States of any thread over any interval."""

    def __init__(self, report, api_calls, ranges, library_rows, span):
        self.api_calls, self.span = api_calls, span
        self.library = brute_force.by_thread(library_rows)
        self.operators = brute_force.by_thread(r for r in ranges if r["is_operator"])
        profiler_kinds, loading_kinds = brute_force.overhead_kinds(report)
        overhead = report.timed("CUPTI_ACTIVITY_KIND_OVERHEAD", "globalTid", "overheadType")
        self.profiler = report.timed("PROFILER_OVERHEAD", "globalTid")
        self.profiler += [r for r in overhead if r["overheadType"] in profiler_kinds]
        self.loading = [r for r in overhead if r["overheadType"] in loading_kinds]
        calls = report.timed("OSRT_API", "eventClass", "globalTid", "nameId")
        calls = [r for r in calls if "eventClass" not in r["columns"] or r["eventClass"] == 27]
        for call in calls:
            call["name"] = report.strings.get(call["nameId"]) or ""
        self.os_calls = brute_force.by_thread(calls)
        self.known = {}

    def segments(self, thread, start, end):
        """[(start, end, state)] of a thread in [start, end), without a gap."""
        if thread not in self.known:
            found, _ = brute_force.collect_intervals(
                thread,
                self.api_calls.get(thread, []),
                self.profiler,
                self.loading,
                self.os_calls.get(thread, []),
                self.library.get(thread, []),
                self.operators.get(thread, []),
            )
            whole = {"start": self.span[0], "end": self.span[1], "order": 0}
            brute_force.sweep([whole], found)
            self.known[thread] = (whole["segments"], [s for s, _, _ in whole["segments"]])
        segments, starts = self.known[thread]
        first = max(bisect_right(starts, start) - 1, 0)
        last = bisect_left(starts, end)
        cut = [(max(s, start), min(e, end), state) for s, e, state in segments[first:last]]
        return [(s, e, state) for s, e, state in cut if e > s]


def zero_states():
    return dict.fromkeys(STATES, 0)


def active_time(launches):
    """Union of the kernels and graphs per (process, device), without the waiting of collectives."""
    per_device = {}
    for launch in launches:
        for op in launch["ops"]:
            if op["kind"] in ("kernel", "graph"):
                interval = (op["start"] + op["wait"], op["end"])  # C15
                per_device.setdefault((op["globalPid"], op["deviceId"]), []).append(interval)
    return sum(total(union(intervals)) for intervals in per_device.values())


def measure_cycle(cycle, threads, busy_of):
    """Adds launches, states, exposed and device time, helpers."""
    kinds = [launch["kind"] for launch in cycle["launches"]]
    ops = [op for launch in cycle["launches"] for op in launch["ops"]]
    measured = "unmeasured_graph" not in kinds
    cycle["wall_ns"] = cycle["end"] - cycle["start"]
    cycle["range_ns"] = min(cycle["mark_end"], cycle["end"]) - cycle["start"]  # C8
    cycle["launch_counts"] = {kind: kinds.count(kind) for kind in KINDS}
    cycle["kernels"] = sum(op["kind"] == "kernel" for op in ops)
    busy = union(interval for device in {op["device"] for op in ops} for interval in busy_of[device])
    starts = [start for start, _ in busy]
    states, exposed = zero_states(), zero_states()
    for start, end, state in threads.segments(cycle["host"], cycle["start"], cycle["end"]):
        states[state] += end - start
        exposed[state] += end - start - overlap(start, end, busy, starts)
    cycle["states_ns"] = states
    cycle["exposed_ns"] = exposed if measured else None
    idle = sum(exposed.values())
    cycle["device"] = {
        "active_ns": active_time(cycle["launches"]) if measured else None,
        "kernel_sum_ns": sum(op["end"] - op["start"] for op in ops if op["kind"] in ("kernel", "graph"))
        if measured
        else None,
        "busy_ns": cycle["wall_ns"] - idle if measured else None,
        "idle_ns": idle if measured else None,
    }
    cycle["helpers"] = sorted({c["globalTid"] for c in cycle["launches"]} - {cycle["host"]})
    cycle["helpers_ns"] = zero_states()
    for helper in cycle["helpers"]:
        for start, end, state in threads.segments(helper, cycle["start"], cycle["end"]):
            cycle["helpers_ns"][state] += end - start


# ------------------------------------------------------------------ sums


def add(values):
    """Sum of integers or of dicts of them; null where one is null."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        return {key: add([value[key] for value in values]) for key in values[0]}
    return sum(values)


def add_cycles(cycles):
    """The figures of a phase from its cycles: sums, and the union where intervals of several may overlap."""
    walls = [c["wall_ns"] for c in cycles]
    result = {
        "instances": len(cycles),
        "wall_ns": sum(walls),
        "wall_median_ns": percentile(walls, 50),
        "range_ns": add([c["range_ns"] for c in cycles]),
        "launches": add([c["launch_counts"] for c in cycles]),
        "kernels": add([c["kernels"] for c in cycles]),
        "states_ns": add([c["states_ns"] for c in cycles]),
        "exposed_ns": add([c["exposed_ns"] for c in cycles]),
        "device": add([c["device"] for c in cycles]),
        "helpers_ns": add([c["helpers_ns"] for c in cycles]),
        "comm_ns": add([c["comm_ns"] for c in cycles]),
        "comm_wait_ns": add([c["comm_wait_ns"] for c in cycles]),
    }
    if result["device"]["active_ns"] is not None:
        result["device"]["active_ns"] = active_time([c for cycle in cycles for c in cycle["launches"]])
    return result


def group_rows(group):
    """One row a label: the slowest rank step by step (C17), skew and the ranks' communication."""
    rows = []
    for label in dict.fromkeys(step[0]["label"] for step in group["steps"]):
        numbers = [n for n, step in enumerate(group["steps"]) if step[0]["label"] == label]
        slowest = []
        for number in numbers:
            step = group["steps"][number]
            waits = [c["comm_wait_ns"] for c in step]
            known = None not in waits
            slowest.append(
                min(step, key=lambda c: (c["comm_wait_ns"] if known else 0, -c["wall_ns"], c["process"], c["thread"]))
            )
        arrivals = [a for number in numbers for a in group["arrivals"][number]]
        rows.append(
            {
                "phase": label,
                **add_cycles(slowest),
                "slowest": [named(c["thread"]) for c in slowest],
                "skew_median_ns": percentile(arrivals, 50) if arrivals else None,
                "skew_largest_ns": max(arrivals) if arrivals else None,
                "collectives": len(arrivals),
                "ranks": [
                    {
                        **named(group["steps"][0][r]["thread"]),
                        "comm_ns": add([group["steps"][n][r]["comm_ns"] for n in numbers]),
                        "comm_wait_ns": add([group["steps"][n][r]["comm_wait_ns"] for n in numbers]),
                    }
                    for r, key in enumerate(group["members"])
                ],
            }
        )
    return rows


# ------------------------------------------------------------------ the whole


def named(thread):
    """Process and thread ids of a marking thread."""
    return {"process": (thread >> 24) & TID, "marked_by": thread & TID}


def group_by_thread(spans):
    threads = {}
    for span in spans:
        threads.setdefault(span["thread"], []).append(span)
    return threads


def analyze(path):
    report = brute_force.Report(path)
    api_calls = brute_force.read_api_calls(report)
    ops = brute_force.read_device_ops(report)
    name_devices(report, ops)
    for op in ops:
        op["wait"] = 0
        op["communication"] = is_communication(report, op)
    launches = brute_force.find_launches(api_calls, ops)
    ranges, library_rows = brute_force.read_ranges(report)
    brute_force.mark_streams(launches)
    brute_force.mark_blocking(launches)

    engine, pattern, marks = find_marks(ranges, {c["globalTid"] & ~TID for c in launches})
    cycles, idle = find_cycles(marks, launches, api_calls)
    groups = find_groups(cycles)
    grouped = set()
    for group in groups:
        group["arrivals"] = [pair_collectives(report, step) for step in group["steps"]]
        grouped |= {id(c) for step in group["steps"] for c in step}
    for cycle in cycles:
        cycle["arrivals"] = [] if id(cycle) in grouped else pair_collectives(report, [cycle])

    part_devices(groups, ops)
    busy_of = {}  # per device, of any process
    for op in ops:
        busy_of.setdefault(op["device"], []).append((op["start"] + op["wait"], op["end"]))
    span = (min((c["start"] for c in cycles), default=0), max((c["end"] for c in cycles), default=0))
    threads = Threads(report, api_calls, ranges, library_rows, span)
    for cycle in cycles:
        measure_cycle(cycle, threads, busy_of)

    inside = {id(launch) for cycle in cycles for launch in cycle["launches"]}
    outside = [launch for launch in launches if id(launch) not in inside]
    in_idle = [
        launch
        for launch in outside
        if any(
            i["thread"] & ~TID == launch["globalTid"] & ~TID and i["start"] <= launch["start"] < i["end"] for i in idle
        )
    ]
    phases = []
    for label, thread in dict.fromkeys((c["label"], c["thread"]) for c in cycles):
        labelled = [c for c in cycles if (c["label"], c["thread"]) == (label, thread)]
        phases.append({"phase": label, **named(thread), **add_cycles(labelled)})
    return {
        "engine": engine,
        "pattern": pattern,
        "cycles": [
            {
                **named(c["thread"]),
                "host": c["host"] & TID,
                "label": c["label"],
                "numbers": c["numbers"],
                "start": c["start"],
                "end": c["end"],
                "range_ns": c["range_ns"],
                "wall_ns": c["wall_ns"],
                "launches": c["launch_counts"],
                "kernels": c["kernels"],
                "states_ns": c["states_ns"],
                "exposed_ns": c["exposed_ns"],
                "device": c["device"],
                "helpers": [helper & TID for helper in c["helpers"]],
                "helpers_ns": c["helpers_ns"],
                "comm_ns": c["comm_ns"],
                "comm_wait_ns": c["comm_wait_ns"],
                "comm_reason": c["comm_reason"],
            }
            for c in cycles
        ],
        "idle": [
            {
                **named(thread),
                "marks": len(spans),
                "idle_ns": sum(span["ns"] for span in spans),
                "idle_marked_ns": sum(span["end"] - span["start"] for span in spans),
                "launches": sum(launch["globalTid"] & ~TID == thread & ~TID for launch in in_idle),
            }
            for thread, spans in sorted(group_by_thread(idle).items())
        ],
        "outside": {
            "launches": len(outside),
            "kernels": sum(op["kind"] == "kernel" for launch in outside for op in launch["ops"]),
        },
        "kernels": sum(op["kind"] == "kernel" for op in ops),
        "phases": phases,
        "groups": [
            {
                "ranks": [named(cycle["thread"]) for cycle in group["steps"][0]],
                "steps": len(group["steps"]),
                "steps_of_ranks": group["counts"],
                "phases": group_rows(group),
            }
            for group in groups
        ],
    }


if __name__ == "__main__":
    result = analyze(sys.argv[1])
    if "--totals" in sys.argv:
        del result["cycles"]
    print(json.dumps(result, indent=1))
