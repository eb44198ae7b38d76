"""A host thread and a device, simulated by the plainest means, and written as a report.

A program is a list of instructions. Simulated with other factors, the same program says what a change really brings:
the truth that predictions from its report are held against. Times are in us.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.tiny_report import TABLES

PROCESS = 77 << 24
THREAD = PROCESS | 77
LATENCY, GAP, WAKE, SYNC = 1, 1, 2, 3
"""From a call's end to its kernel; between kernels of a stream; from the device's end to the host's return; a
synchronisation that finds the device idle."""

OS_TABLE = """
CREATE TABLE OSRT_API
  (start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER, nameId INTEGER, callchainId INTEGER);
CREATE TABLE PROFILER_OVERHEAD (start INTEGER, end INTEGER, globalTid INTEGER, nameId INTEGER, returnValue INTEGER);
"""


@dataclass(frozen=True)
class Python:
    """The host computes."""

    us: int


@dataclass(frozen=True)
class Library:
    """The host is in a cuBLAS range."""

    us: int


@dataclass(frozen=True)
class Sleep:
    """The host waits in the OS."""

    us: int


@dataclass(frozen=True)
class Load:
    """The host loads a module."""

    us: int


@dataclass(frozen=True)
class Profiler:
    """The profiler writes its buffers."""

    us: int


@dataclass(frozen=True)
class Launch:
    """A kernel, or a `copy` to the device; the call takes `call` us. It waits for an event of the stream `after`."""

    us: int
    name: str = "elementwise"
    stream: int = 7
    call: int = 5
    copy: bool = False
    after: int | None = None


@dataclass(frozen=True)
class Graph:
    """A CUDA graph of `nodes` kernels of `us` each; without `traced` the report does not have them."""

    nodes: int
    us: int
    name: str = "elementwise"
    call: int = 8
    traced: bool = True


@dataclass(frozen=True)
class ReadBack:
    """A copy from the device that the host waits for."""

    us: int = 2
    call: int = 5


@dataclass(frozen=True)
class Synchronise:
    """The host waits for the device, but for the last `leave` launches of the program so far."""

    leave: int = 0


@dataclass(frozen=True)
class Step:
    """A marked step."""

    label: str
    body: tuple[Instruction, ...]


Instruction = Python | Library | Sleep | Load | Profiler | Launch | Graph | ReadBack | Synchronise | Step


@dataclass
class Simulation:
    """One run of a program; factors multiply times, 1 is the program as it is."""

    python: float = 1
    library: float = 1
    call: float = 1
    kernels: float = 1
    copies: float = 1
    now: float = 0
    ends: list[float] = field(default_factory=list)
    lanes: dict[int, float] = field(default_factory=dict)
    steps: list[tuple[str, float, float]] = field(default_factory=list)
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)

    def run(self, program: list[Instruction] | tuple[Instruction, ...]) -> Simulation:
        """Run the instructions."""
        for one in program:
            self._do(one)
        return self

    @property
    def completed(self) -> float:
        """When the last step has ended and all work is done."""
        return max([end for _, _, end in self.steps] + self.ends)

    def wall(self, label: str) -> float:
        """The time of all steps of a label."""
        return sum(end - start for name, start, end in self.steps if name == label)

    def _do(self, one: Instruction) -> None:
        start = self.now
        if isinstance(one, Step):
            self.run(one.body)
            self.steps.append((one.label, start, self.now))
            self._row("NVTX_EVENTS", start, self.now, 59, one.label, THREAD, 0, None)
        elif isinstance(one, Python):
            self.now += one.us * self.python
        elif isinstance(one, Library):
            self.now += one.us * self.library
            self._row("NVTX_EVENTS", start, self.now, 59, "cublasGemmEx", THREAD, 5, None)
        elif isinstance(one, Sleep):
            self.now += one.us
            self._row("OSRT_API", start, self.now, 27, THREAD, self._text("nanosleep"), 0)
        elif isinstance(one, Load):
            self.now += one.us
            self._call("cuModuleLoadData", start)
        elif isinstance(one, Profiler):
            self.now += one.us
            self._row("PROFILER_OVERHEAD", start, self.now, THREAD, self._text("CUPTI Buffer flush"), 0)
        elif isinstance(one, Synchronise):
            before = self.ends[: len(self.ends) - one.leave]
            done = max(before, default=0)
            self.now = max(self.now + SYNC, done + WAKE if done > start else 0)
            self._call("cudaEventSynchronize_v3020" if one.leave else "cudaDeviceSynchronize_v3020", start)
        elif isinstance(one, Graph):
            self.now += one.call * self.call
            if one.traced:
                self._kernels(self._call("cudaGraphLaunch_v10000", start), one.name, one.nodes, one.us, 7, graph=True)
            else:
                self._call("cudaGraphLaunch_v10000", start)
        elif isinstance(one, ReadBack):
            self.now += one.call * self.call
            begin = max(self.now + LATENCY, self.lanes.get(7, 0) + GAP)
            end = self._work(7, begin, one.us * self.copies)
            self.now = end + WAKE
            correlation = self._call("cudaMemcpyAsync_v3020", start)
            self._op("CUPTI_ACTIVITY_KIND_MEMCPY", begin, end, 7, correlation, 8, 2, None)
        elif one.copy:
            self.now += one.call * self.call
            correlation = self._call("cudaMemcpyAsync_v3020", start)
            begin = max(self.now + LATENCY, self.lanes.get(one.stream, 0) + GAP)
            if one.after is not None:
                begin = max(begin, self.lanes.get(one.after, 0) + GAP)
            end = self._work(one.stream, begin, one.us * self.copies)
            self._op("CUPTI_ACTIVITY_KIND_MEMCPY", begin, end, one.stream, correlation, 10**6, 1, None)
        else:
            self.now += one.call * self.call
            self._kernels(self._call("cudaLaunchKernel_v7000", start), one.name, 1, one.us, one.stream, graph=False)

    def _kernels(self, correlation: int, name: str, nodes: int, us: int, stream: int, *, graph: bool) -> None:
        for node in range(nodes):
            begin = max(self.now + LATENCY, self.lanes.get(stream, 0) + GAP)
            end = self._work(stream, begin, us * self.kernels)
            text = self._text(name)
            self._op(
                "CUPTI_ACTIVITY_KIND_KERNEL", begin, end, stream, correlation, text, text, 1, 1, 1,
                node + 1 if graph else None,
            )  # fmt: skip

    def _work(self, stream: int, begin: float, us: float) -> float:
        self.lanes[stream] = begin + us
        self.ends.append(begin + us)
        return begin + us

    def _call(self, name: str, start: float) -> int:
        correlation = len(self.rows.get("CUPTI_ACTIVITY_KIND_RUNTIME", ())) + 1
        self._row("CUPTI_ACTIVITY_KIND_RUNTIME", start, self.now, 0, THREAD, correlation, self._text(name), 0, 0)
        return correlation

    def _op(self, table: str, begin: float, end: float, stream: int, correlation: int, *rest: object) -> None:
        self._row(table, begin, end, 0, 1, stream, correlation, PROCESS, *rest)

    def _row(self, table: str, start: float, end: float, *rest: object) -> None:
        self.rows.setdefault(table, []).append((round(start * 1000) + 1000, round(end * 1000) + 1000, *rest))

    def _text(self, value: str) -> int:
        return self.strings.setdefault(value, len(self.strings) + 1)

    def write(self, path: Path) -> Path:
        """Write the run as a report."""
        if any(row[5] == 5 for row in self.rows.get("NVTX_EVENTS", ())):
            self.rows["NVTX_EVENTS"].append((0, None, 75, "cuBLAS", THREAD, 5, None))
        names = [(number, value) for value, number in self.strings.items()]
        with sqlite3.connect(path) as file:
            file.executescript(TABLES + OS_TABLE)
            for table, values in (self.rows | {"StringIds": names}).items():
                if values:
                    file.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(values[0]))})", values)
        file.close()
        return path
