"""The slow, obvious twin of method.md section 4, evidence `samples`: one sample and one frame at a time.

It takes the host's segments from brute_force.py. What it knows of modules is the list of the method and what the
reports at hand hold, not the program's table.
"""

import re
import sqlite3
from bisect import bisect_right

from tests.oracle import brute_force

PROFILER = re.compile(r"libToolsInjection|libcupti|libnvperf")
LIBRARY = re.compile(r"lib(cublas|cudnn|nccl|cufft|cusparse|cusolver|cutensor|nvshmem|cufile)")
COMPILER = re.compile(r"libnvrtc")
DRIVER = re.compile(r"libcuda\.so|libcudart")
FRAMEWORK = re.compile(r"libtorch|libc10|libtensorflow|xla")
INTERPRETER = re.compile(r"python|libpython")
CLASSES = [
    ("profiler", PROFILER),
    ("library", LIBRARY),
    ("compiler", COMPILER),
    ("driver", DRIVER),
    ("framework", FRAMEWORK),
    ("interpreter", INTERPRETER),
]
SPLIT = ("python", "dispatch", "runtime", "library")


def class_of(module):
    name = module.rsplit("/", 1)[-1]
    return next((label for label, pattern in CLASSES if pattern.match(name)), None)


def what_it_hit(modules, state):
    """The rule of the method for one sample; `modules` from the leaf up."""
    known = [label for label in map(class_of, modules) if label]
    if not known:
        return "unknown"
    first = known[0]
    if first in ("driver", "compiler"):
        if first == "driver" and state == "launch":
            return "launch"
        owner = next((label for label in known if label not in ("driver", "compiler")), None)
        if owner in ("library", "profiler"):
            return owner
        return "runtime" if first == "driver" else "native"
    return {"framework": "native"}.get(first, first)


def on_cpu_spans(switches):
    """When a thread was on a CPU: before its first switch and after its last it was what those say."""
    spans, on, since = [], not switches[0][1], -(2**62)
    for moment, came in switches:
        if on:
            spans.append((since, moment))
        on, since = came, moment
    return [*spans, (since, 2**62)] if on else spans


def overlap(spans, start, end):
    """How much of [start, end) lies in sorted, disjoint spans."""
    total, index = 0, max(bisect_right(spans, (start,)) - 1, 0)
    while index < len(spans) and spans[index][0] < end:
        total += max(0, min(spans[index][1], end) - max(spans[index][0], start))
        index += 1
    return total


def share_out(total, counts):
    """Largest remainder, one ns at a time."""
    whole = sum(counts.values())
    parts = {name: total * n // whole for name, n in counts.items()} if whole else dict.fromkeys(counts, 0)
    order = sorted(counts, key=lambda name: -(total * counts[name] % whole)) if whole else []
    for name in order[: total - sum(parts.values()) if whole else 0]:
        parts[name] += 1
    return parts


def analyze(path, period, kinds, *, ignore_ranges=False, with_switches=True):
    """(phase, thread) -> state -> {"time", "on_cpu", "counts", "ns"}."""
    segments = brute_force.analyze(path, ignore_ranges=ignore_ranges)["segments"]
    database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    text = dict(database.execute("SELECT id, value FROM StringIds"))
    chains = {}
    for sample, depth, module in database.execute("SELECT id, stackDepth, module FROM SAMPLING_CALLCHAINS"):
        chains.setdefault(sample, {})[depth] = text[module]
    switches = {}
    if with_switches:
        rows = database.execute("SELECT globalTid, start, isSchedIn FROM SCHED_EVENTS ORDER BY start, isSchedIn")
        for thread, start, came in rows:
            switches.setdefault(thread, []).append((start, bool(came)))
    spans = {thread: on_cpu_spans(rows) for thread, rows in switches.items()}
    result = {}
    by_thread = {}
    for phase, thread, start, end, state in segments:
        held = result.setdefault((phase, thread), {}).setdefault(
            state, {"time": 0, "switched": 0, "counts": dict.fromkeys(kinds, 0), "samples": 0}
        )
        held["time"] += end - start
        held["switched"] += overlap(spans.get(thread, []), start, end)
        by_thread.setdefault(thread, []).append((start, end, phase, state))
    for mine in by_thread.values():
        mine.sort()
    for sample, start, thread in database.execute("SELECT id, start, globalTid FROM COMPOSITE_EVENTS"):
        mine = by_thread.get(thread, [])
        index = bisect_right(mine, (start, 2**62)) - 1
        if index < 0 or start >= mine[index][1] or sample not in chains:
            continue
        _, _, phase, state = mine[index]
        modules = [chains[sample][depth] for depth in sorted(chains[sample])]
        held = result[phase, thread][state]
        held["counts"][what_it_hit(modules, state)] += 1
        held["samples"] += 1
    for (_, thread), states in result.items():
        for held in states.values():
            known = switches.get(thread)
            held["on_cpu"] = held["switched"] if known else min(held["time"], held["samples"] * period)
            held["ns"] = share_out(held["on_cpu"], held["counts"])
    return result


def layers(states):
    """delta_ft and delta_ct of one phase: only the four states of host work, without off-CPU.

    Section 5: only the `profiler` state leaves HDBI, so the profiler's samples in these states stay the framework's.
    """
    framework = library = 0
    for state in SPLIT:
        if state not in states:
            continue
        held = states[state]
        if not held["samples"]:
            if state == "library":
                library += held["on_cpu"]
            else:
                framework += held["on_cpu"]
            continue
        library += held["ns"]["library"]
        framework += held["on_cpu"] - held["ns"]["library"]
    return framework, library
