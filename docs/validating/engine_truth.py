"""What an engine's workload measured of itself: its steps, the costs put into it, its bare times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Cost:
    """One measured cost: where it was put, its size as asked for, and its begin and end on the workload's clock, ns."""

    place: str
    size: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """The kind of cost: place and size."""
        return f"{self.place} {self.size}"


@dataclass(frozen=True)
class Process:
    """One process of the engine: the times of its steps, ns, how many requests and tokens each had, and its costs."""

    pid: int
    rank: int | None
    times: Ints
    requests: Ints
    tokens: Ints
    costs: tuple[Cost, ...]
    device_ns: tuple[int, ...]
    capture_start: int


@dataclass(frozen=True)
class Truth:
    """The measurements of one run: the front end's (`segments`: each `generate()`) and those of launching processes."""

    arguments: dict[str, Any]
    segments: tuple[dict[str, Any], ...]
    processes: tuple[Process, ...]

    @property
    def prompts(self) -> list[int]:
        """The lengths of prompts that were run, one after the other."""
        return list(dict.fromkeys(segment["prompt"] for segment in self.segments))

    def cycles(self, kind: str, batch: int, prompt: int | None = None) -> list[int]:
        """Return the times from a decode step to the next, ns, of all runs of a kind (`bare`, `captured`) and batch.

        `prompt` is the prompt's length, the first that was run by default.
        """
        return [ns for run in self.runs(kind, batch, prompt) for ns in run]

    def runs(self, kind: str, batch: int, prompt: int | None = None) -> list[list[int]]:
        """Return the same run by run.

        Only steps that decode one token of each of `batch` requests count (with speculation: up to five), so that
        neither a prefill nor the time between two runs is in them.
        """
        process = self.processes[0]
        found = []
        most = batch * (1 + int(self.arguments.get("ngram") or 0))
        wanted = (kind, batch, prompt or (self.prompts or [0])[0])
        for segment in self.segments:
            if (segment["kind"], segment["batch"], segment["prompt"]) != wanted:
                continue
            inside = (process.times >= segment["t0"]) & (process.times <= segment["t1"])
            decodes = inside & (process.requests == batch) & (process.tokens >= batch) & (process.tokens <= most)
            found.append(np.diff(process.times[decodes]).tolist())
        return found


def read_truth(path: Path) -> Truth:
    """Return the measurements in a file that `examples/engine/serve.py` wrote."""
    data = json.loads(path.read_text())
    in_front = _costs(data["front_rows"])
    processes = tuple(sorted(_processes(data["processes"], in_front), key=lambda process: process.rank or 0))
    return Truth(arguments=data["args"], segments=tuple(data["segments"]), processes=processes)


def _costs(rows: list[list[Any]]) -> tuple[Cost, ...]:
    return tuple(Cost(place=place, size=size, start=start, end=end) for place, size, _, start, end in rows)


def _processes(entries: list[dict[str, Any]], in_front: tuple[Cost, ...]) -> Iterator[Process]:
    """Yield the processes that run steps; costs of the front end are kept with each, as they must not show in it."""
    for entry in entries:
        if not entry["steps"]:
            continue  # a scheduler without a device of its own
        steps = np.array(entry["steps"], dtype=np.int64)
        yield Process(
            pid=entry["pid"],
            rank=entry["rank"],
            times=steps[:, 0],
            requests=steps[:, 1],
            tokens=steps[:, 2],
            costs=_costs(entry["rows"]) + in_front,
            device_ns=tuple(ns for _, ns in entry["device"]),
            capture_start=entry["captured"][0][0],
        )


def clock_offset(process: Process, mark_starts: Ints) -> int:
    """Return report time less workload time, ns: the median over the steps with requests, mark by mark.

    Raises ValueError where the report does not hold the steps that the workload ran.
    """
    ran = process.times[(process.times >= process.capture_start) & (process.requests > 0)]
    if len(ran) != len(mark_starts):
        raise ValueError(f"process {process.pid}: {len(mark_starts)} steps in the report, {len(ran)} in the workload")
    return int(np.median(np.sort(mark_starts) - ran))
