"""The programs that capture an engine, run on a stand-in for it: costs go where the plan says, and are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "examples" / "engine"
STAND_IN = {
    "vllm/v1/core/sched/scheduler.py": """
class Scheduler:
    def schedule(self, throttle=False):
        return 5

    def update_from_output(self, scheduled, output):
        return {}


class AsyncScheduler(Scheduler):
    pass
""",
    "vllm/v1/worker/gpu_worker.py": """
class Worker:
    rank = 0

    def annotate_profile(self, scheduler_output):
        return None

    def profile(self, is_start=True, profile_prefix=None):
        return None
""",
    "vllm/v1/engine/core.py": """
from types import SimpleNamespace

from vllm.v1.core.sched.scheduler import AsyncScheduler
from vllm.v1.worker.gpu_worker import Worker


class EngineCore:
    def __init__(self):
        self.worker = Worker()

    def profile(self, is_start=True, profile_prefix=None):
        self.worker.profile(is_start, profile_prefix)

    def run(self, steps):
        scheduler = AsyncScheduler()
        self.step(scheduler)
        self.profile(True, None)
        for _ in range(steps):
            self.step(scheduler)
        self.profile(False)

    def step(self, scheduler):
        scheduler.schedule(False)
        tokens = {"a": 1, "b": 1}
        self.worker.annotate_profile(SimpleNamespace(num_scheduled_tokens=tokens, total_num_scheduled_tokens=2))
        scheduler.update_from_output(None, None)
""",
}
RUN = """
import costs
import multiprocessing
from vllm.v1.engine.core import EngineCore

process = multiprocessing.get_context("fork").Process(target=EngineCore().run, args=(8,))
process.start()
process.join()
raise SystemExit(process.exitcode)
"""


def test_costs_are_put_into_a_forked_engine_and_measured(tmp_path: Path) -> None:
    for name, text in STAND_IN.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in {parent for path in tmp_path.rglob("*.py") for parent in path.parents if tmp_path in parent.parents}:
        (folder / "__init__.py").touch()
    plan = {"plan": [["", 0], ["", 0], ["scheduler", 300], ["output", 500], ["sleep", 100]]}
    environment = os.environ | {
        "ENGINE_COSTS": json.dumps(plan), "ENGINE_TRUTH": str(tmp_path / "truth"),
        "PYTHONPATH": f"{ENGINE}{os.pathsep}{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", RUN], env=environment, check=True, timeout=60)
    (path,) = tmp_path.glob("truth.*.json")
    truth = json.loads(path.read_text())
    rows = truth["rows"]
    # the plan is gone through from the start of the capture on, so steps 2, 3, 4 and 7 have a cost
    assert [(place, size, step) for place, size, step, *_ in rows] == [
        ("scheduler", 300, 2), ("output", 500, 3), ("sleep", 100, 4), ("scheduler", 300, 7),
    ]  # fmt: skip
    assert all(end - start >= size * 1000 for _, size, _, start, end in rows)
    # the step before the capture is kept too, and no step has a cost of its own place elsewhere
    assert [step[1:] for step in truth["steps"]] == [[2, 2]] * 9
    assert sum(time >= truth["captured"][0][0] for time, *_ in truth["steps"]) == 8
    scheduled = truth["schedules"][1:]
    assert [start <= rows[0][3] < rows[0][4] <= end for start, end in scheduled] == [step == 2 for step in range(8)]


def test_a_plan_has_two_steps_without_a_cost_before_each_cost() -> None:
    command = [sys.executable, str(ENGINE / "plan.py"), "eager", "3"]
    plan = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)["plan"]
    assert [bool(place) for place, _ in plan] == [False, False, True] * (len(plan) // 3)
    sizes = [tuple(kind) for kind in plan if kind[0]]
    # the smaller a cost, the more often: 4, 2 and 1 times a round, in the layers 2, 2 and 1 times
    assert [sizes.count((place, size)) for place in ("scheduler", "forward") for size in (50, 200, 1000)] == [
        12, 6, 3, 6, 6, 3,
    ]  # fmt: skip
    assert sizes[: len(sizes) // 3] != sizes[len(sizes) // 3 : 2 * len(sizes) // 3]
