"""Writes small exports: launches, waits and NVTX ranges as a test says, with the tables of schema 3.7."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

PROCESS = 77 << 24

TABLES = """
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME
  (start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER, correlationId INTEGER, nameId INTEGER,
   returnValue INTEGER, callchainId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL
  (start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, correlationId INTEGER,
   globalPid INTEGER, demangledName INTEGER, shortName INTEGER, gridX INTEGER, gridY INTEGER, gridZ INTEGER,
   graphNodeId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY
  (start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, correlationId INTEGER,
   globalPid INTEGER, bytes INTEGER, copyKind INTEGER, graphNodeId INTEGER);
CREATE TABLE NVTX_EVENTS
  (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, globalTid INTEGER, domainId INTEGER, textId INTEGER);
"""


@dataclass
class TinyReport:
    """Host time passes from call to call; each call takes 1 us, a kernel 2 us."""

    now: int = 1_000
    strings: dict[str, int] = field(default_factory=dict)
    api: list[tuple[int, ...]] = field(default_factory=list)
    kernels: list[tuple[int | None, ...]] = field(default_factory=list)
    copies: list[tuple[int | None, ...]] = field(default_factory=list)
    ranges: list[tuple[int | str | None, ...]] = field(default_factory=list)

    def text(self, value: str) -> int:
        return self.strings.setdefault(value, len(self.strings) + 1)

    def call(self, name: str, thread: int = PROCESS | 77) -> int:
        correlation = len(self.api) + 1
        self.api.append((self.now, self.now + 1_000, 0, thread, correlation, self.text(name), 0, 0))
        self.now += 1_500
        return correlation

    def kernel(self, name: str, blocks: int = 1, thread: int = PROCESS | 77) -> None:
        begun = self.now
        correlation = self.call("cudaLaunchKernel_v7000", thread)
        self._op(correlation, begun, name, blocks, thread, None)

    def graph(self, names: list[str], blocks: int = 1, thread: int = PROCESS | 77) -> None:
        """Launch a graph of kernels; without any, one whose kernels were not traced."""
        begun = self.now
        correlation = self.call("cudaGraphLaunch_v10000", thread)
        for k, name in enumerate(names):
            self._op(correlation, begun + 2_000 * k, name, blocks, thread, k + 1)

    def _op(self, correlation: int, begun: int, name: str, blocks: int, thread: int, node: int | None) -> None:
        start, code, process = begun + 5_000, self.text(name), thread & ~0xFFFFFF
        self.kernels.append((start, start + 2_000, 0, 1, 7, correlation, process, code, code, blocks, 1, 1, node))

    def read_back(self, size: int = 8, thread: int = PROCESS | 77) -> None:
        begun = self.now
        correlation = self.call("cudaMemcpyAsync_v3020", thread)
        self.copies.append((begun + 6_000, begun + 7_000, 0, 1, 7, correlation, thread & ~0xFFFFFF, size, 2, None))
        self.call("cudaStreamSynchronize_v3020", thread)

    def mark(self, text: str, start: int, end: int, thread: int = PROCESS | 77) -> None:
        self.ranges.append((start, end, 59, text, thread, 0, None))

    def write(self, path: Path) -> Path:
        with sqlite3.connect(path) as file:
            file.executescript(TABLES)
            rows = {
                "StringIds": [(number, value) for value, number in self.strings.items()],
                "CUPTI_ACTIVITY_KIND_RUNTIME": self.api,
                "CUPTI_ACTIVITY_KIND_KERNEL": self.kernels,
                "CUPTI_ACTIVITY_KIND_MEMCPY": self.copies,
                "NVTX_EVENTS": self.ranges,
            }
            for table, values in rows.items():
                if values:
                    file.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(values[0]))})", values)
        file.close()
        return path
