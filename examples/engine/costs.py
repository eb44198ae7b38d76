"""Known costs put into a vLLM engine, measured by the clock that ends them, and the times of its steps.

Imported before vLLM, this module wraps functions of the engine while their modules are imported, in every process.
ENGINE_COSTS holds JSON: `plan`, a list of [place, size] that is gone through step by step while a capture is on (see
plan.py), and `layers`, whether the layers of the model are wrapped. Places:

scheduler, output, sampler, forward (each layer), rank (rank 0 alone), front (the front-end process): a Python spin of
    `size` us
sleep: a sleep of `size` us in the scheduler
kernels: `size` small kernels in each layer
device: `size` matrix products in the sampler

When the capture stops, each process writes ENGINE_TRUTH.PID.json.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

now = time.perf_counter_ns
CONFIG = json.loads(os.environ.get("ENGINE_COSTS", "{}"))
PLAN: list[tuple[str, int]] = [tuple(entry) for entry in CONFIG.get("plan", [])] or [("", 0)]
TRUTH = os.environ.get("ENGINE_TRUTH", "")
CORE = os.environ.get("ENGINE_CORE", "")
"""The core that the thread which makes the marks is kept on."""
Wrapper = Callable[[Any], Any]


@dataclass
class State:
    """What this process has measured so far; times are ns of CLOCK_MONOTONIC, the same in all processes."""

    armed: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    current: tuple[str, int, int] = ("", 0, 0)
    rank: int | None = None
    rows: list[tuple[str, int, int, int, int]] = field(default_factory=list)  # place, size, step, start, end
    steps: list[tuple[int, int, int]] = field(default_factory=list)  # time of the mark, requests, tokens
    schedules: list[tuple[int, int]] = field(default_factory=list)
    outputs: list[tuple[int, int]] = field(default_factory=list)
    front: list[tuple[int, int]] = field(default_factory=list)
    captured: list[list[int | None]] = field(default_factory=list)
    events: list[tuple[int, Any, Any]] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)


STATE = State()


def arm() -> None:
    """Begin with the plan."""
    STATE.counts = dict.fromkeys(("schedule", "output", "worker", "front"), 0)
    STATE.current = ("", 0, 0)
    STATE.armed = True
    STATE.captured.append([now(), None])


def dump(role: str) -> None:
    """End the plan and write what was measured."""
    STATE.armed = False
    if STATE.captured and STATE.captured[-1][1] is None:
        STATE.captured[-1][1] = now()
    if not TRUTH:
        return
    device = []
    for step, first, last in STATE.events:
        last.synchronize()
        device.append([step, int(first.elapsed_time(last) * 1e6)])
    text = {"pid": os.getpid(), "role": role, "rank": STATE.rank, "captured": STATE.captured, "steps": STATE.steps,
            "schedules": STATE.schedules, "outputs": STATE.outputs, "rows": STATE.rows, "device": device}  # fmt: skip
    with open(f"{TRUTH}.{os.getpid()}.json", "w") as file:
        json.dump(text, file, separators=(",", ":"))


def planned(counter: str) -> tuple[str, int, int]:
    """Return place, size and number of the next step of a counter."""
    number = STATE.counts[counter]
    STATE.counts[counter] = number + 1
    return (*PLAN[number % len(PLAN)], number)


# ----------------------------------------------------------------------------------------------------- costs


def spin(place: str, size: int, step: int) -> None:
    """Keep the interpreter busy for `size` us."""
    began = now()
    until = began + size * 1000
    while now() < until:
        pass
    STATE.rows.append((place, size, step, began, now()))


def nap(place: str, size: int, step: int) -> None:
    """Sleep for `size` us."""
    began = now()
    time.sleep(size * 1e-6)
    STATE.rows.append((place, size, step, began, now()))


def products(place: str, size: int, step: int) -> None:
    """Launch `size` large matrix products between two CUDA events."""
    import torch

    if "matrix" not in STATE.tensors:
        STATE.tensors["matrix"] = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
        STATE.tensors["result"] = torch.empty_like(STATE.tensors["matrix"])
    matrix = STATE.tensors["matrix"]
    began = now()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(size):
        torch.mm(matrix, matrix, out=STATE.tensors["result"])
    last.record()
    STATE.rows.append((place, size, step, began, now()))
    STATE.events.append((step, first, last))


def kernels(place: str, size: int, step: int) -> None:
    """Launch `size` small kernels."""
    import torch

    if "small" not in STATE.tensors:
        STATE.tensors["small"] = torch.zeros(1024, device="cuda")
    small = STATE.tensors["small"]
    began = now()
    for _ in range(size):
        small.add_(1)
    STATE.rows.append((place, size, step, began, now()))


def warm() -> None:
    """Allocate and compile what the device's costs need, before the capture."""
    import torch

    products("device", 2, -1)
    kernels("kernels", 2, -1)
    torch.cuda.synchronize()
    STATE.rows.clear()
    STATE.events.clear()


# -------------------------------------------------------------------------------------------------- wrappers


def timed(counter: str, places: dict[str, Callable[[str, int, int], None]], kept: list[tuple[int, int]]) -> Wrapper:
    """Return a wrapper that pays what the plan says for this step and keeps start and end of the call."""

    def make(original: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            began = now()
            if STATE.armed:
                place, size, number = planned(counter)
                if place in places:
                    places[place](place, size, number)
            result = original(*args, **options)
            kept.append((began, now()))
            return result

        return wrapped

    return make


def paying(places: dict[str, Callable[[str, int, int], None]], rank: int | None = None) -> Wrapper:
    """Return a wrapper that pays what the plan says for the worker's current step, on one rank alone if asked."""

    def make(original: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            if STATE.armed and STATE.current[0] in places and rank in (None, STATE.rank):
                places[STATE.current[0]](*STATE.current)
            return original(*args, **options)

        return wrapped

    return make


def marking(original: Any) -> Any:
    """Wrap the function that makes a step's mark: note when, and what the step works on."""

    def wrapped(self: Any, scheduler_output: Any) -> Any:
        if CORE and not STATE.steps:
            os.sched_setaffinity(0, {int(CORE) + (getattr(self, "rank", 0) or 0)})
        if STATE.armed:
            STATE.current = planned("worker")
            STATE.rank = getattr(self, "rank", None)
        result = original(self, scheduler_output)
        counts = scheduler_output.num_scheduled_tokens
        STATE.steps.append((now(), len(counts), scheduler_output.total_num_scheduled_tokens))
        return result

    return wrapped


def profiling(role: str) -> Wrapper:
    """Return a wrapper of `profile(is_start)`."""

    def make(original: Any) -> Any:
        def wrapped(self: Any, is_start: bool = True, *args: Any, **options: Any) -> Any:
            if is_start:
                if role == "worker" and any(place == "kernels" for place, _ in PLAN):
                    warm()
                arm()
            result = original(self, is_start, *args, **options)
            if not is_start:
                dump(role)
            return result

        return wrapped

    return make


TARGETS: dict[str, list[tuple[str, str, Wrapper]]] = {
    "vllm.v1.core.sched.scheduler": [
        ("Scheduler", "schedule", timed("schedule", {"scheduler": spin, "sleep": nap}, STATE.schedules)),
        ("Scheduler", "update_from_output", timed("output", {"output": spin}, STATE.outputs)),
    ],
    "vllm.v1.worker.gpu_worker": [
        ("Worker", "annotate_profile", marking),
        ("Worker", "profile", profiling("worker")),
    ],
    "vllm.v1.worker.gpu.model_runner": [("GPUModelRunner", "execute_model", paying({"rank": spin}, rank=0))],
    "vllm.v1.worker.gpu_model_runner": [("GPUModelRunner", "execute_model", paying({"rank": spin}, rank=0))],
    "vllm.v1.engine.core": [("EngineCore", "profile", profiling("engine"))],
    "vllm.v1.sample.sampler": [("Sampler", "forward", paying({"sampler": spin, "device": products}))],
    "vllm.v1.worker.gpu.sample.sampler": [("Sampler", "__call__", paying({"sampler": spin, "device": products}))],
    "vllm.v1.engine.output_processor": [
        ("OutputProcessor", "process_outputs", timed("front", {"front": spin}, STATE.front))
    ],
}
if CONFIG.get("layers"):
    TARGETS["vllm.model_executor.models.llama"] = [
        ("LlamaDecoderLayer", "forward", paying({"forward": spin, "kernels": kernels}))
    ]


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the targets' functions once their module has run."""

    def __init__(self) -> None:
        """Remember which modules are being looked for."""
        self.busy: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the usual spec of a target, its loader changed; None for any other module."""
        if name not in TARGETS or name in self.busy:
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec and spec.loader:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                for owner, attribute, make in TARGETS[name]:
                    holder = getattr(module, owner)
                    original = getattr(holder, attribute)
                    setattr(holder, attribute, functools.wraps(original)(make(original)))

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if not any(isinstance(finder, Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, Finder())
