"""The slow, obvious twin of method.md (sections 1-5 and 7; evidence ranges, subtractive, none).

Plain lists of intervals and one sweep per thread, standard library alone. Every interval is half-open,
[start, end), in integer nanoseconds. AMBIGUITIES.md says what was read into the text where it is unclear;
`A3` in a comment points there.
"""

import json
import re
import sqlite3
import sys
from bisect import bisect_left, bisect_right

STATES = [
    "profiler",
    "device_wait",
    "module_load",
    "launch",
    "memop",
    "os_wait",
    "library",
    "runtime",
    "dispatch",
    "python",
]  # in order of precedence
TID = 0xFFFFFF
PAPER_T_SYS = 4500
LIBRARY_DOMAINS = {
    "cublas",
    "cublaslt",
    "cublasxt",
    "cudnn",
    "cufft",
    "cusparse",
    "cusolver",
    "cutensor",
    "nccl",
    "cccl",
    "cudla",
}  # A8
LIBRARY_PREFIXES = ("nccl", "cublas", "cudnn", "cufft", "cusparse", "cusolver", "cutensor")
LIBRARY_MODULE = re.compile(r"^lib(cublas|cudnn|nccl|cufft|cusparse|cusolver|cutensor|nvrtc)", re.I)
LIBRARY_OPERATORS = ("mm", "addmm", "bmm", "linear", "matmul", "baddbmm", "convolution", "scaled_dot_product")
LIBRARY_KERNEL = re.compile("cublas|cudnn|cutlass|nvjet|gemm|gemv|xmma|splitk|fmha|flash", re.I)
SYNC_COPY = re.compile(r"(cudaMemcpy(2D|3D|ToSymbol|FromSymbol)?|cuMemcpy(DtoH|HtoD)(_v\d)?)$")  # A5
MODULE_LOAD = ("cuModuleLoad", "cuLibraryLoad", "cudaLibraryLoad")
OS_WAIT = re.compile(
    r"(p?poll|p?select|epoll_p?wait2?|futex|sem_(timed|clock)?wait|pthread_cond_(timed|clock)?wait"
    r"|(clock_)?nanosleep|u?sleep|sig(timed)?wait(info)?|accept4?|recv|recvfrom|recvmm?sg)$"
)  # A6


# ------------------------------------------------------------------ small helpers


def percentile(values, p):
    """Section 'The method': index floor((n-1)*p/100) of the sorted integers."""
    values = sorted(values)
    return values[(len(values) - 1) * p // 100]


def union(intervals):
    """The same time as sorted, disjoint intervals."""
    merged = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def total(intervals):
    return sum(end - start for start, end in intervals)


def overlap(start, end, merged, starts):
    """Time of [start, end) in the disjoint intervals `merged`, whose starts are `starts`."""
    covered = 0
    index = max(bisect_right(starts, start) - 1, 0)
    while index < len(merged) and merged[index][0] < end:
        covered += max(0, min(end, merged[index][1]) - max(start, merged[index][0]))
        index += 1
    return covered


def strip_suffix(name):
    """cudaLaunchKernel_v7000_ptsz -> cudaLaunchKernel; cuMemAlloc_v2 stays."""
    while True:
        shorter = re.sub(r"(_v\d{4,}|_ptsz|_ptds)$", "", name)
        if shorter == name:
            return name
        name = shorter


def strip_number(text):
    return re.sub(r"[ _#:./-]*[0-9]+$", "", text) or text  # A12


def innermost(holders):
    """Of intervals that hold one point: the latest start, then the earliest end, then the last row."""
    return max(holders, key=lambda r: (r["start"], -r["end"], r["order"]))


class Holders:
    """Which intervals of a list hold a point. Sorted by start, walked back as far as any can still reach."""

    def __init__(self, ranges):
        self.ranges = sorted(ranges, key=lambda r: r["start"])
        self.starts = [r["start"] for r in self.ranges]
        self.reach = []  # latest end among the first i+1
        for r in self.ranges:
            self.reach.append(max(r["end"], self.reach[-1] if self.reach else r["end"]))

    def holding(self, t):
        found = []
        index = bisect_right(self.starts, t) - 1
        while index >= 0 and self.reach[index] > t:
            if self.ranges[index]["end"] > t:
                found.append(self.ranges[index])
            index -= 1
        return found

    def contains(self, start, end):
        """Is [start, end) inside a single one of them?"""
        index = bisect_right(self.starts, start) - 1
        return index >= 0 and self.reach[index] >= end


# ------------------------------------------------------------------ reading


class Report:
    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        self.db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        self.tables = {r[0] for r in self.db.execute("SELECT name FROM sqlite_master WHERE type IN ('table','view')")}
        self.strings = {r["id"]: r["value"] for r in self.rows("StringIds", "id", "value")}

    def rows(self, table, *columns):
        """Rows as dicts; a missing table has no rows, a missing column is None. Ids of threads made unsigned."""
        if table not in self.tables:
            return []
        present = {r[1] for r in self.db.execute(f'PRAGMA table_info("{table}")')}
        select = ", ".join(f'"{c}"' if c in present else "NULL" for c in columns)
        result = []
        for number, values in enumerate(self.db.execute(f'SELECT {select} FROM "{table}"')):
            row = dict(zip(columns, values), order=number)
            row["columns"] = present
            for key in ("globalTid", "globalPid"):
                if row.get(key) is not None:
                    row[key] &= 0xFFFFFFFFFFFFFFFF
            result.append(row)
        return result

    def timed(self, table, *columns):
        """Rows with a usable interval."""
        return [
            r
            for r in self.rows(table, "start", "end", *columns)
            if r["start"] is not None and r["end"] is not None and r["end"] >= r["start"]
        ]


def by_thread(rows):
    threads = {}
    for row in rows:
        threads.setdefault(row["globalTid"], []).append(row)
    return threads


def read_api_calls(report):
    """Outermost API calls per thread, each with the calls inside it folded in (`ids`, `chains`)."""
    rows = report.timed("CUPTI_ACTIVITY_KIND_RUNTIME", "globalTid", "correlationId", "nameId", "callchainId")
    outermost = {}
    for thread, calls in by_thread(rows).items():
        calls.sort(key=lambda r: (r["start"], -r["end"], r["order"]))
        kept, outer = [], None  # outer: the kept call that reaches furthest
        for call in calls:
            if outer and outer["end"] >= call["end"] and outer["end"] > call["start"]:  # A1
                outer["ids"].add(call["correlationId"])
                outer["chains"].add(call["callchainId"])
                continue
            call["name"] = strip_suffix(report.strings.get(call["nameId"]) or "")
            call["ids"] = {call["correlationId"]}
            call["chains"] = {call["callchainId"]}
            call["ops"] = []
            kept.append(call)
            if outer is None or call["end"] > outer["end"]:
                outer = call
        outermost[thread] = kept
    return outermost


def read_device_ops(report):
    ops = []
    for kind, table in (
        ("kernel", "KERNEL"),
        ("memcpy", "MEMCPY"),
        ("memset", "MEMSET"),
        ("graph", "GRAPH_TRACE"),
    ):
        for op in report.timed(
            "CUPTI_ACTIVITY_KIND_" + table,
            "deviceId",
            "contextId",
            "streamId",
            "correlationId",
            "globalPid",
            "graphNodeId",
            "demangledName",
            "shortName",
            "mangledName",
        ):
            if kind == "graph" and op["start"] == 0 and op["end"] == 0:
                continue  # CUPTI: "no timestamp" (A16)
            op["kind"] = kind
            op["stream"] = (op["globalPid"], op["deviceId"], op["contextId"], op["streamId"])
            ops.append(op)
    return ops


def find_launches(api_calls, ops):
    """Joins on (process, correlationId); a list of API calls, now with `kind` and `ops`, in order of start."""
    owner = {}
    calls = sorted((c for thread in api_calls.values() for c in thread), key=lambda c: (c["start"], -c["end"]))
    for call in calls:
        for correlation in call["ids"]:
            if correlation is not None:
                owner.setdefault((call["globalTid"] & ~TID, correlation), call)
    for op in ops:
        if op["correlationId"] is not None and (op["globalPid"], op["correlationId"]) in owner:
            owner[op["globalPid"], op["correlationId"]]["ops"].append(op)
    launches = []
    for call in calls:
        is_graph = call["name"] in ("cudaGraphLaunch", "cuGraphLaunch") or any(
            op["graphNodeId"] is not None or op["kind"] == "graph" for op in call["ops"]
        )
        if is_graph:
            call["kind"] = "graph" if call["ops"] else "unmeasured_graph"
        elif any(op["kind"] == "kernel" for op in call["ops"]):
            call["kind"] = "kernel"
        elif call["ops"]:
            call["kind"] = "memory"
        else:
            call["kind"] = None
            continue
        launches.append(call)
    return launches


def read_ranges(report):
    """All usable NVTX ranges with text, is_library and is_operator; and library ranges of every source."""
    rows = report.rows("NVTX_EVENTS", "start", "end", "eventType", "text", "textId", "domainId", "globalTid")
    for row in rows:
        row["text"] = report.strings.get(row["textId"], row["text"])
        row["domainId"] = row["domainId"] or 0
    domains = {}
    for row in rows:
        if row["eventType"] == 75:
            domains.setdefault((row["globalTid"] & ~TID, row["domainId"]), row["text"] or "")
    ranges = []
    for row in rows:
        if row["eventType"] not in (59, 60) or row["start"] is None or row["end"] is None or row["end"] < row["start"]:
            continue
        text = row["text"] or ""
        domain = domains.get((row["globalTid"] & ~TID, row["domainId"]))
        if row["domainId"] == 0:
            row["is_library"] = False
        elif domain is None:
            row["is_library"] = text.startswith(LIBRARY_PREFIXES)
        else:
            row["is_library"] = domain.lower() in LIBRARY_DOMAINS
        row["is_operator"] = not row["is_library"] and (
            text.startswith(("aten::", "autograd::")) or "op_id =" in text or "seq =" in text
        )
        ranges.append(row)
    library = [r for r in ranges if r["is_library"]]
    for table, event_class in (("CUBLAS_EVENTS", 29), ("CUDNN_EVENTS", 28)):
        for row in report.timed(table, "eventClass", "globalTid"):
            if "eventClass" not in row["columns"] or row["eventClass"] == event_class:
                library.append(row)
    return ranges, library


# ------------------------------------------------------------------ phases (section 2)


def outermost_of(ranges):
    taken = []
    for r in sorted(ranges, key=lambda r: (r["start"], -r["end"], r["order"])):
        if not taken or r["start"] >= taken[-1]["end"]:
            taken.append(r)
    return taken


def find_instances(ranges, launches, api_calls, rules):
    """{thread: [instance]} of the launching threads; an instance is {phase, start, end, order}."""
    threads = sorted({launch["globalTid"] for launch in launches})
    usable = []
    for r in ranges:
        if not r["text"]:
            continue
        if rules is None:
            if r["is_library"] or r["is_operator"] or r["text"] in ("Holding GIL", "Waiting for GIL"):
                continue
            label = strip_number(r["text"])
        else:
            label = next((name for name, regex in rules if re.search(regex, r["text"])), None)
            if label is None:
                continue
        usable.append(dict(r, phase=label))
    instances = {}
    for thread in threads:
        own = [r for r in usable if r["globalTid"] == thread]
        chosen = own if rules is not None else outermost_of(own)
        if not own:
            chosen = outermost_of([r for r in usable if r["globalTid"] & ~TID == thread & ~TID])
        instances[thread] = [
            {"phase": r["phase"], "thread": thread, "start": r["start"], "end": r["end"], "order": number}
            for number, r in enumerate(chosen)
        ]
    if not any(instances.values()):
        for thread in threads:
            mine = [launch for launch in launches if launch["globalTid"] == thread]
            end = max([c["end"] for c in api_calls[thread]] + [op["end"] for c in mine for op in c["ops"]])
            instances[thread] = [
                {
                    "phase": "all",
                    "thread": thread,
                    "start": min(c["start"] for c in mine),
                    "end": end,
                    "order": 0,
                }
            ]
    return instances


# ------------------------------------------------------------------ streams, blocking calls, T_sys


def mark_streams(launches):
    """For each launch: queue_end, the latest end of ops of earlier launches on its streams (None: none)."""
    queued = {}
    for launch in launches:
        for op in launch["ops"]:
            queued.setdefault(op["stream"], []).append((launch["start"], op["end"]))
    prefix = {}
    for stream, entries in queued.items():
        entries.sort()
        latest, best = [], None
        for _, end in entries:
            best = end if best is None else max(best, end)
            latest.append(best)
        prefix[stream] = ([start for start, _ in entries], latest)
    for launch in launches:
        launch["queue_end"] = None
        for stream in {op["stream"] for op in launch["ops"]}:
            starts, latest = prefix[stream]
            before = bisect_left(starts, launch["start"])  # launches that started strictly earlier
            if before and (launch["queue_end"] is None or latest[before - 1] > launch["queue_end"]):
                launch["queue_end"] = latest[before - 1]
        launch["met_idle"] = bool(launch["ops"]) and (
            launch["queue_end"] is None or launch["queue_end"] <= launch["start"]
        )


def mark_blocking(launches):
    """launch['wait'] = the device_wait part of a copy or launch that blocks, or None."""
    idle_durations = {}
    for launch in launches:
        if launch["met_idle"]:
            idle_durations.setdefault(launch["name"], []).append(launch["end"] - launch["start"])
    limits = {name: 10 * percentile(durations, 50) for name, durations in idle_durations.items() if len(durations) >= 5}
    for launch in launches:
        limit = limits.get(launch["name"], 50_000)  # A4
        launch["wait"] = None
        if (
            launch["ops"]
            and launch["queue_end"] is not None
            and launch["start"] < launch["queue_end"]
            and launch["end"] - launch["start"] > limit
        ):
            launch["wait"] = (launch["start"], min(launch["end"], launch["queue_end"]))


def find_t_sys(launches, given):
    if given is not None:
        return given, "given"
    gaps = [
        min(op["start"] for op in launch["ops"] if op["kind"] == "kernel") - launch["start"]
        for launch in launches
        if launch["kind"] == "kernel" and launch["met_idle"]
    ]
    if len(gaps) >= 100:
        return percentile(gaps, 1), "idle_launches"
    # a floor is never above what launches took
    return min([PAPER_T_SYS, *(percentile(gaps, 1) for _ in gaps[:1])]), "paper"


# ------------------------------------------------------------------ states (section 3)


def is_synchronisation(name):
    return name.endswith("Synchronize") or SYNC_COPY.match(name) is not None


def overhead_kinds(report):
    """Types of _OVERHEAD rows that are the profiler's, and those that are lazy loading."""
    labels = {r["id"]: (r["label"] or "").lower() for r in report.rows("ENUM_CUPTI_OVERHEAD_TYPE", "id", "label")}
    if not labels:
        return {3, 4, 5}, {6, 7}
    return (
        {i for i, label in labels.items() if "(profiler)" in label},
        {i for i, label in labels.items() if "module loading" in label or "lazy" in label},
    )


def collect_intervals(thread, api_calls, profiler_rows, loading_rows, os_calls, library, operators):
    """{state: [(start, end)]} of a thread, before precedence; and its non-waiting OS calls."""
    found = {state: [] for state in STATES}
    for row in profiler_rows:
        if row["globalTid"] == thread or row["globalTid"] == thread & ~TID:
            found["profiler"].append((row["start"], row["end"]))
    for row in loading_rows:
        if row["globalTid"] == thread or row["globalTid"] == thread & ~TID:
            found["module_load"].append((row["start"], row["end"]))
    for call in api_calls:
        interval = (call["start"], call["end"])
        if is_synchronisation(call["name"]):
            state = "device_wait"
        elif call["kind"] in ("kernel", "graph", "unmeasured_graph"):
            state = "launch"
        elif call["kind"] == "memory":
            state = "memop"
        elif call["name"].startswith(MODULE_LOAD):
            state = "module_load"
        else:
            state = "runtime"
        found[state].append(interval)
        if call["kind"] and call["wait"]:
            found["device_wait"].append(call["wait"])
    found["library"] = [(r["start"], r["end"]) for r in library]
    found["dispatch"] = [(r["start"], r["end"]) for r in operators]
    api_holders, library_holders = Holders(api_calls), Holders(library)
    working = []
    for call in os_calls:
        if not OS_WAIT.match(call["name"]):
            working.append((call["start"], call["end"]))
        elif not api_holders.contains(call["start"], call["end"]) and not library_holders.contains(
            call["start"], call["end"]
        ):
            found["os_wait"].append((call["start"], call["end"]))
    return found, working


def sweep(instances, found):
    """Cut the thread at every boundary and give each elementary segment to (innermost instance, first state).

    Returns instance['segments'] = [(start, end, state)].
    """
    events = []
    for state, intervals in found.items():
        for start, end in intervals:
            if end > start:
                events.append((start, state, 1))
                events.append((end, state, -1))
    for instance in instances:
        instance["segments"] = []
        if instance["end"] > instance["start"]:
            events.append((instance["start"], instance, 1))
            events.append((instance["end"], instance, -1))
    events.sort(key=lambda e: e[0])
    depth = {state: 0 for state in STATES}
    open_instances = []
    previous = None
    for time, what, change in events:
        if open_instances and time > previous:
            state = next((s for s in STATES if depth[s] > 0), "python")
            innermost(open_instances)["segments"].append((previous, time, state))
        previous = time
        if isinstance(what, str):
            depth[what] += change
        elif change > 0:
            open_instances.append(what)
        else:
            open_instances = [i for i in open_instances if i is not what]


# ------------------------------------------------------------------ library-mediated launches (section 4, evidence 3)


def kernel_name(report, op):
    for column in ("demangledName", "shortName", "mangledName"):
        if op[column] is not None and op[column] in report.strings:
            return report.strings[op[column]]
    return ""


def uses_library(operator_text):
    name = operator_text.split(",")[0]
    if name.startswith("aten::"):
        name = name[len("aten::") :]
    return name.startswith(LIBRARY_OPERATORS)


def mark_mediated(report, launches, library, operators):
    """launch['library_mediated'], ['why'] (kernel launches) and ['t_dispatch'] (None without operator range)."""
    library_chains = set()
    for frame in report.rows("CUDA_CALLCHAINS", "id", "module"):
        module = report.strings.get(frame["module"]) or ""
        if LIBRARY_MODULE.match(module.rsplit("/", 1)[-1]):
            library_chains.add(frame["id"])
    for thread, mine in by_thread(launches).items():
        in_library, in_operator = Holders(library.get(thread, [])), Holders(operators.get(thread, []))
        calls = [(launch["start"], launch["end"]) for launch in mine]  # in order of start
        starts = [start for start, _ in calls]
        for launch in mine:
            around = in_operator.holding(launch["start"])
            launch["t_dispatch"] = None
            if around:
                op_start = innermost(around)["start"]
                between = 0
                index = bisect_left(starts, launch["start"]) - 1
                # Outermost calls of a thread overlap at most in part, so ends are in order as starts are.
                while index >= 0 and calls[index][1] > op_start:
                    between += min(calls[index][1], launch["start"]) - max(calls[index][0], op_start)
                    index -= 1
                launch["t_dispatch"] = launch["start"] - op_start - between
            launch["library_mediated"], launch["why"] = None, None
            if launch["kind"] != "kernel":
                continue
            names = [kernel_name(report, op) for op in launch["ops"] if op["kind"] == "kernel"]
            if launch["chains"] & library_chains:
                launch["why"] = "call_chain"
            elif in_library.holding(launch["start"]):
                launch["why"] = "range"
            elif (
                launch["name"].startswith("cu")
                and not launch["name"].startswith("cuda")
                and any(uses_library(r["text"] or "") for r in around)
            ):
                launch["why"] = "driver_api"
            elif any(LIBRARY_KERNEL.search(name) for name in names):
                launch["why"] = "kernel_name"
            launch["library_mediated"] = launch["why"] is not None


# ------------------------------------------------------------------ one phase of one thread


def measure_instance(instance, launches, busy_of, working):
    """Adds wall, states, exposed, in_os to an instance; `launches` are its own."""
    devices = {op["deviceId"] for launch in launches for op in launch["ops"]}
    busy = union(interval for device in devices for interval in busy_of[device])
    starts = [start for start, _ in busy]
    instance["states"] = dict.fromkeys(STATES, 0)
    instance["exposed"] = dict.fromkeys(STATES, 0)
    instance["in_os"] = dict.fromkeys(STATES, 0)
    os_starts = [start for start, _ in working]
    for start, end, state in instance["segments"]:
        instance["states"][state] += end - start
        instance["exposed"][state] += end - start - overlap(start, end, busy, starts)
        instance["in_os"][state] += overlap(start, end, working, os_starts)
    instance["wall"] = sum(end - start for start, end, _ in instance["segments"])


def add_states(parts):
    return {state: sum(part[state] for part in parts) for state in STATES}


def make_entry(phase, thread, instances, launches, evidence, moved, t_sys):
    """The dict of section 7 from the measured instances and the launches of a phase."""
    kinds = [launch["kind"] for launch in launches]
    unmeasured = kinds.count("unmeasured_graph")
    kernel, graph = kinds.count("kernel"), kinds.count("graph") + unmeasured  # A2
    ops = [op for launch in launches for op in launch["ops"]]
    computing = [op for op in ops if op["kind"] in ("kernel", "graph")]
    per_device = {}
    for op in computing:
        per_device.setdefault((op["globalPid"], op["deviceId"]), []).append((op["start"], op["end"]))
    active = sum(total(union(intervals)) for intervals in per_device.values())

    states = add_states([i["states"] for i in instances])
    exposed = add_states([i["exposed"] for i in instances])
    device = {
        "active_ns": active,
        "kernel_sum_ns": sum(op["end"] - op["start"] for op in computing),
        "idle_ns": sum(exposed.values()),
    }

    framework = states["python"] + states["dispatch"] + states["runtime"]
    if evidence == "none":
        delta_ft, delta_ct = framework + states["library"], None
    else:
        delta_ft, delta_ct = framework - moved, states["library"] + moved
    delta_kt = (kernel + graph) * t_sys
    orchestration = delta_ft + (delta_ct or 0) + delta_kt
    hdbi = None
    if unmeasured:
        active = None
        device = dict.fromkeys(device, None)  # A2
        exposed = dict.fromkeys(exposed, None)
    elif kernel + graph and active + orchestration:
        hdbi = active / (active + orchestration)
    return {
        "phase": phase,
        "process": None if thread is None else (thread >> 24) & TID,
        "thread": None if thread is None else thread & TID,
        "instances": len(instances),
        "wall_ns": sum(i["wall"] for i in instances),
        "wall_median_ns": percentile([i["wall"] for i in instances], 50),
        "launches": {
            "kernel": kernel,
            "graph": graph,
            "memory": kinds.count("memory"),
            "unmeasured_graph": unmeasured,
        },
        "kernels": sum(op["kind"] == "kernel" for op in ops),
        "states_ns": states,
        "exposed_ns": exposed,
        "in_os_ns": add_states([i["in_os"] for i in instances]),
        "device": device,
        "taxbreak": {
            "delta_ft_ns": delta_ft,
            "delta_ct_ns": delta_ct,
            "delta_kt_ns": delta_kt,
            "launch_excess_ns": max(0, states["launch"] - delta_kt),
            "t_orchestration_ns": orchestration,
            "t_device_active_ns": active,
            "hdbi": hdbi,
            "evidence": evidence,
        },
    }


def choose_evidence(available, asked):
    """The best that the phase has; with `asked`, that one where the phase has it, else none (A10)."""
    if asked is not None:
        return asked if asked in available else "none"
    return next((e for e in ("ranges", "subtractive") if e in available), "none")


# ------------------------------------------------------------------ the whole


def analyze(path, *, phase_rules=None, t_sys=None, evidence=None, ignore_ranges=False):
    if evidence not in (None, "ranges", "subtractive", "none"):
        raise ValueError(f"evidence: {evidence}")
    report = Report(path)
    api_calls = read_api_calls(report)
    ops = read_device_ops(report)
    launches = find_launches(api_calls, ops)
    ranges, library_rows = read_ranges(report)
    library = by_thread(library_rows)
    operators = by_thread(r for r in ranges if r["is_operator"])
    mark_streams(launches)
    mark_blocking(launches)
    mark_mediated(report, launches, library, operators)
    t_sys_ns, t_sys_source = find_t_sys(launches, t_sys)

    profiler_kinds, loading_kinds = overhead_kinds(report)
    overhead = report.timed("CUPTI_ACTIVITY_KIND_OVERHEAD", "globalTid", "overheadType")
    profiler_rows = report.timed("PROFILER_OVERHEAD", "globalTid") + [
        r for r in overhead if r["overheadType"] in profiler_kinds
    ]
    loading_rows = [r for r in overhead if r["overheadType"] in loading_kinds]
    os_calls = [
        r
        for r in report.timed("OSRT_API", "eventClass", "globalTid", "nameId")
        if "eventClass" not in r["columns"] or r["eventClass"] == 27
    ]
    for call in os_calls:
        call["name"] = report.strings.get(call["nameId"]) or ""
    os_calls = by_thread(os_calls)
    busy_of = {}  # of any process (A14)
    for op in ops:
        busy_of.setdefault(op["deviceId"], []).append((op["start"], op["end"]))
    busy_of = {device: union(intervals) for device, intervals in busy_of.items()}

    # Which instance does each launch belong to, and which evidence does each instance hold?
    instances = find_instances(ranges, launches, api_calls, phase_rules)
    outside = {}
    groups = {}  # (phase, thread) -> its instances, launches and evidence
    segments = []  # (phase, thread, start, end, state), for brute_samples.py
    for thread, mine in instances.items():
        holders = Holders(mine)
        for instance in mine:
            instance["launches"] = []
            group = groups.setdefault((instance["phase"], thread), {"instances": [], "has": set()})
            group["instances"].append(instance)
        for launch in (c for c in launches if c["globalTid"] == thread):
            held_by = holders.holding(launch["start"])
            launch["phase"] = innermost(held_by)["phase"] if held_by else None
            if held_by:
                innermost(held_by)["launches"].append(launch)
            key = f"{(thread >> 24) & TID}/{thread & TID}"
            outside[key] = outside.get(key, 0) + (not held_by)
        for name, rows in (("ranges", library.get(thread, [])), ("subtractive", operators.get(thread, []))):
            for row in rows:
                held_by = holders.holding(row["start"])
                if held_by:
                    groups[innermost(held_by)["phase"], thread]["has"].add(name)

        found, working = collect_intervals(
            thread,
            api_calls[thread],
            profiler_rows,
            loading_rows,
            os_calls.get(thread, []),
            [] if ignore_ranges else library.get(thread, []),
            [] if ignore_ranges else operators.get(thread, []),
        )
        working = union(working)
        sweep(mine, found)
        segments += [(i["phase"], thread, *segment) for i in mine for segment in i["segments"]]
        for instance in mine:
            measure_instance(instance, instance["launches"], busy_of, working)

    # T_base over the in-phase kernel launches of the whole report (A9)
    native = [
        c["t_dispatch"]
        for c in launches
        if c["kind"] == "kernel"
        and c["phase"] is not None
        and not c["library_mediated"]
        and c["t_dispatch"] is not None
    ]
    t_base = percentile(native, 50) if native else None

    entries = []
    by_label = {}
    for (phase, thread), group in groups.items():
        group["launches"] = [c for instance in group["instances"] for c in instance["launches"]]
        if t_base is None:
            group["has"].discard("subtractive")
        chosen = choose_evidence(group["has"], evidence)
        group["moved"] = 0
        if chosen == "subtractive":
            estimate = sum(
                max(0, c["t_dispatch"] - t_base)
                for c in group["launches"]
                if c["library_mediated"] and c["t_dispatch"] is not None
            )
            group["moved"] = min(estimate, sum(i["states"]["dispatch"] for i in group["instances"]))
        group["evidence"] = chosen
        entries.append(
            make_entry(phase, thread, group["instances"], group["launches"], chosen, group["moved"], t_sys_ns)
        )
        by_label.setdefault(phase, []).append(group)
    for phase, shared in by_label.items():
        if len(shared) > 1:  # A11
            best = next(e for e in ("ranges", "subtractive", "none") if any(g["evidence"] == e for g in shared))
            moved = sum(g["moved"] for g in shared) if best == "subtractive" else 0
            entries.append(
                make_entry(
                    phase,
                    None,
                    [i for g in shared for i in g["instances"]],
                    [c for g in shared for c in g["launches"]],
                    best,
                    moved,
                    t_sys_ns,
                )
            )
    return {
        "t_sys_ns": t_sys_ns,
        "t_sys_source": t_sys_source,
        "t_base_ns": t_base,
        "phases": entries,
        "segments": segments,
        "outside": outside,
        "launches": [
            {
                "process": (c["globalTid"] >> 24) & TID,
                "thread": c["globalTid"] & TID,
                "start": c["start"],
                "end": c["end"],
                "correlation_id": c["correlationId"],
                "kind": c["kind"],
                "phase": c["phase"],
                "library_mediated": c["library_mediated"],
                "why": c["why"],
                "t_dispatch": c["t_dispatch"],
                "name": c["name"],
                "met_idle": c["met_idle"],
                "wait": c["wait"],
            }
            for c in launches
        ],
    }


if __name__ == "__main__":
    result = analyze(sys.argv[1])
    del result["launches"]
    print(json.dumps(result, indent=1))
