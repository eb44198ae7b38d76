"""Writes small reports in the layouts of nsys 2020 to 2026, with one scenario whose figures are known by hand.

A step of 100 us, on one thread:

    us  0   10-14  30---------50  60-70   80-90    92-94     100
        |   launch |  cuBLAS  |   poll    synchr.  profiler  |
                     35-40 launch
    device    15---25      45------60

One `prefill` and three `decode_N`, 1 ms apart. The ranges of a step are its states: launch 4 + 5, library
20 - 5, os_wait 10, device_wait 10, profiler 2, python the rest; the device is active for 10 + 15.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

US = 1000
STEPS = ("prefill", "decode_0", "decode_1", "decode_2")
STATES_OF_A_STEP = {"launch": 9, "library": 15, "os_wait": 10, "device_wait": 10, "profiler": 2, "python": 54}
ACTIVE_OF_A_STEP = 25
UTC_2026 = 1_795_328_856_000_000_000
PID = 7264

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL = "CUPTI_ACTIVITY_KIND_KERNEL"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Version:
    """What sets an nsys version's export apart."""

    name: str
    version_table: str | None
    schema: str | None
    lazy: bool = True
    event_class: bool = True
    global_pid: bool = True
    cublas: str = "nvtx"
    """`nvtx`: ranges in the domain cuBLAS, `events`: rows of CUBLAS_EVENTS."""
    text_ids: bool = True
    graph_events: str = "nodes"
    """What CUDA_GRAPH_EVENTS holds: `nodes` (to 2023), `graphs` (since), `none`."""
    overhead: str = "PROFILER_OVERHEAD"
    gpu: bool = True
    event_id: bool = False


VERSIONS = (
    Version("2020.1", None, None, event_class=False, global_pid=False, cublas="events", text_ids=False,
            graph_events="none"),
    Version("2021.5", "EXPORT_META_DATA", "2.7.1", cublas="events", graph_events="none"),
    Version("2023.2", "EXPORT_META_DATA", "3.1.7", cublas="events"),
    Version("2023.4", "META_DATA_EXPORT", "3.7.2"),
    Version("2023.4-full", "META_DATA_EXPORT", "3.7.2", lazy=False),
    Version("2024.6", "META_DATA_EXPORT", "3.16.1", graph_events="graphs"),
    Version("2026.1", "META_DATA_EXPORT", "3.24.14", graph_events="graphs", overhead="CUPTI_ACTIVITY_KIND_OVERHEAD"),
    Version("2026.2", "META_DATA_EXPORT", "3.25.0", graph_events="graphs", overhead="both", gpu=False),
    Version("2026.4-full", "META_DATA_EXPORT", "3.28.1", lazy=False, graph_events="graphs", overhead="both",
            event_id=True),
)  # fmt: skip


@dataclass(frozen=True)
class Variation:
    """What may differ between two reports of one version."""

    name: str = "plain"
    shift: int = 0
    hardware_id: int = 0
    order: int | None = None
    """Seed of a random order of rows and columns."""
    keyed_names: bool = True
    second_process: bool = False


VARIATIONS = (
    Variation(),
    Variation("normalised time", shift=UTC_2026),
    Variation("negative times", shift=-1_234_567),
    Variation("negative ids", hardware_id=0xFE),
    Variation("any order", order=1),
    Variation("names without a key", keyed_names=False, order=2),
)


def thread_id(hardware: int, pid: int = PID) -> int:
    """Return a globalTid as SQLite holds it: signed."""
    value = hardware << 56 | 1 << 48 | pid << 24 | pid
    return value - (1 << 64) if value >> 63 else value


class Builder:
    """Collects rows and writes them as a report."""

    def __init__(self, version: Version, variation: Variation) -> None:
        self.version, self.variation = version, variation
        self.strings: dict[str, int] = {}
        self.tables: dict[str, Rows] = {}
        self.correlation = 0

    def string(self, text: str) -> int:
        """Return the id of a string."""
        return self.strings.setdefault(text, len(self.strings) + 10)

    def add(self, table: str, **row: Any) -> None:
        """Add a row; columns of one table must agree."""
        self.tables.setdefault(table, []).append(row)

    def at(self, us: int) -> int:
        """Return a time of the scenario as the export holds it, ns."""
        return us * US + self.variation.shift

    def call(self, thread: int, name: str, start: int, end: int) -> int:
        """Add a CUDA API call; return its correlation id."""
        self.correlation += 1
        row: dict[str, Any] = {"start": self.at(start), "end": self.at(end), "globalTid": thread}
        row |= {"correlationId": self.correlation, "nameId": self.string(name), "returnValue": 0}
        if self.version.event_class:
            row |= {"eventClass": 0, "callchainId": None}
        self.add(RUNTIME, **row)
        return self.correlation

    def launch(self, thread: int, start: int, end: int, kernel: tuple[int, int], name: str) -> None:
        """Add a kernel and its launching call."""
        correlation = self.call(thread, "cudaLaunchKernel_v7000", start, end)
        row: dict[str, Any] = {"start": self.at(kernel[0]), "end": self.at(kernel[1]), "deviceId": 0, "contextId": 1}
        row |= {"streamId": 7, "correlationId": correlation, "demangledName": self.string(name)}
        row |= {"shortName": self.string(name), "gridX": 1, "blockX": 32}
        if self.version.global_pid:
            row["globalPid"] = thread & ~0xFFFFFF
        if self.version.graph_events != "none":
            row["graphNodeId"] = None
        if self.version.graph_events == "graphs":
            row |= {"graphId": None, "clusterX": 0}
        self.add(KERNEL, **row)

    def range(self, thread: int, text: str, start: int, end: int, domain: int = 0) -> None:
        """Add an NVTX push/pop range; a text of a domain is registered where the version knows that."""
        row: dict[str, Any] = {"start": self.at(start), "end": self.at(end), "eventType": 59, "globalTid": thread}
        row |= self._text(text, registered=domain != 0) | {"domainId": domain}
        self._nvtx(row)

    def domain(self, thread: int, name: str, domain: int) -> None:
        """Add the creation of an NVTX domain."""
        row = {"start": self.at(0), "end": None, "eventType": 75, "globalTid": thread}
        self._nvtx(row | self._text(name, registered=False) | {"domainId": domain})

    def _text(self, text: str, *, registered: bool) -> dict[str, Any]:
        if not self.version.text_ids:
            return {"text": text}
        return {"text": None, "textId": self.string(text)} if registered else {"text": text, "textId": None}

    def _nvtx(self, row: dict[str, Any]) -> None:
        if self.version.event_id:
            row = {"eventId": len(self.tables.get("NVTX_EVENTS", [])) + 1} | row
        self.add("NVTX_EVENTS", **row)

    def cublas(self, thread: int, start: int, end: int) -> None:
        """Add a call of cuBLAS the way the version sees it."""
        if self.version.cublas == "nvtx":
            self.range(thread, "cublasGemmEx", start, end, domain=5)
            return
        row = {"start": self.at(start), "end": self.at(end), "globalTid": thread, "nameId": self.string("cublasSgemm")}
        self.add("CUBLAS_EVENTS", **row | ({"eventClass": 29} if self.version.event_class else {}))

    def overhead(self, thread: int, start: int, end: int) -> None:
        """Add work of the profiler, in the table or tables that the version has for it."""
        row: dict[str, Any] = {"start": self.at(start), "end": self.at(end), "globalTid": thread}
        row["nameId"] = self.string("CUPTI Buffer flush")
        if self.version.overhead in ("PROFILER_OVERHEAD", "both"):
            old = self.version.overhead == "PROFILER_OVERHEAD"
            self.add("PROFILER_OVERHEAD", **row | ({"returnValue": 0} if old else {"overheadType": 3}))
        if self.version.overhead in ("CUPTI_ACTIVITY_KIND_OVERHEAD", "both"):
            self.add("CUPTI_ACTIVITY_KIND_OVERHEAD", **row | {"eventClass": 103, "overheadType": 3})

    def os_call(self, thread: int, name: str, start: int, end: int) -> None:
        """Add an OS runtime call."""
        row: dict[str, Any] = {"start": self.at(start), "end": self.at(end), "globalTid": thread}
        row |= {"nameId": self.string(name), "callchainId": 0}
        if self.version.event_class:
            row["eventClass"] = 27
        if self.version.event_id:
            row["argumentsId"] = 0
        self.add("OSRT_API", **row)

    def step(self, thread: int, text: str, zero: int, longer: int = 0) -> None:
        """Add one step of the scenario, `zero` us after the session's start."""
        self.range(thread, text, zero, zero + 100 + longer)
        self.launch(thread, zero + 10, zero + 14, (zero + 15, zero + 25), "elementwise_kernel")
        self.cublas(thread, zero + 30, zero + 50)
        self.launch(thread, zero + 35, zero + 40, (zero + 45, zero + 60), "sgemm_128x128")
        self.os_call(thread, "poll", zero + 60, zero + 70)
        self.call(thread, "cudaStreamSynchronize_v3020", zero + 80, zero + 90)
        self.overhead(thread, zero + 92, zero + 94)

    def write(self, path: Path) -> Path:
        """Write the report."""
        for table, rows in self._facts():
            self.tables.setdefault(table, []).extend(rows)
        self.tables["StringIds"] = [{"id": number, "value": text} for text, number in self.strings.items()]
        if not self.version.lazy:
            for table in ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"):
                self.tables.setdefault(table, [])
        mixed = None if self.variation.order is None else random.Random(self.variation.order)
        with sqlite3.connect(path) as database:
            for table, rows in self.tables.items():
                _write_table(database, table, rows, mixed, keyed=self.variation.keyed_names)
        database.close()
        return path

    def _facts(self) -> Iterable[tuple[str, Rows]]:
        if self.version.version_table:
            yield self.version.version_table, [{"name": "EXPORT_SCHEMA_VERSION", "value": self.version.schema}]
        if self.version.gpu:
            yield "TARGET_INFO_GPU", [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}]
        if self.version.graph_events == "nodes":
            creation = {"start": 0, "end": 1, "eventClass": 77, "globalTid": 1, "nameId": 1, "graphNodeId": 3}
            yield "CUDA_GRAPH_EVENTS", [creation]
        elif self.version.graph_events == "graphs":
            creation = {"start": 0, "end": 1, "eventClass": 95, "globalTid": 1, "nameId": 1, "graphId": 3}
            yield "CUDA_GRAPH_EVENTS", [creation]


_DEVICE_COLUMNS = ("start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid", "bytes")


def _write_table(
    database: sqlite3.Connection, table: str, rows: Rows, mixed: random.Random | None, *, keyed: bool
) -> None:
    columns = list(rows[0]) if rows else list(_DEVICE_COLUMNS)
    assert all(set(row) == set(columns) for row in rows), table
    if mixed:
        mixed.shuffle(columns)
        rows = mixed.sample(rows, len(rows))
    key = {"StringIds": "id", "NVTX_EVENTS": "eventId"}.get(table) if keyed else None
    declared = [
        f'"{c}" {"TEXT" if c in ("text", "value", "name") else "INTEGER"}{" PRIMARY KEY" if c == key else ""}'
        for c in columns
    ]
    database.execute(f'CREATE TABLE "{table}" ({", ".join(declared)})')
    marks = ", ".join("?" * len(columns))
    database.executemany(f'INSERT INTO "{table}" VALUES ({marks})', [[row[c] for c in columns] for row in rows])


def build(
    path: Path,
    version: Version = VERSIONS[3],
    variation: Variation = VARIATIONS[0],
    steps: Iterable[str] = STEPS,
    longer: Mapping[str, int] | None = None,
) -> Path:
    """Write the scenario to `path`; `longer` adds Python time to the end of some steps, us."""
    builder = Builder(version, variation)
    for process in range(2 if variation.second_process else 1):
        thread = thread_id(variation.hardware_id, PID + process)
        if version.cublas == "nvtx":
            builder.domain(thread, "cuBLAS", 5)
        for number, text in enumerate(steps):
            builder.step(thread, text, 1000 * (number + 1), (longer or {}).get(text, 0))
    return builder.write(path)
