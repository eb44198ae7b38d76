"""An assistant's ten questions: each answer over MCP agrees with a value from another source."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import anyio
import pytest

from docs.agent_tasks import ROOT, SAMPLES, TASKS, Task, ask_all, read_answer

pytest.importorskip("mcp")
KERNELS_OF_DECODE = """
    FROM CUPTI_ACTIVITY_KIND_KERNEL AS kernel
    JOIN CUPTI_ACTIVITY_KIND_RUNTIME AS call
      ON call.correlationId = kernel.correlationId AND (call.globalTid & ~0xFFFFFF) = kernel.globalPid
    JOIN NVTX_EVENTS AS mark ON mark.globalTid = call.globalTid AND call.start >= mark.start AND call.start < mark.end
    LEFT JOIN StringIds AS label ON label.id = mark.textId
    WHERE coalesce(mark.text, label.value) LIKE 'decode%'
"""


def select(report: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{SAMPLES / report}?mode=ro", uri=True)) as database:
        return database.execute(statement).fetchall()


def kernels_per_step() -> float:
    kernels = select("llama-1b.sqlite", f"SELECT count(*) {KERNELS_OF_DECODE}")[0][0]
    return float(kernels / select("llama-1b.sqlite", f"SELECT count(DISTINCT mark.start) {KERNELS_OF_DECODE}")[0][0])


def longest_kernel() -> str:
    return str(
        select(
            "llama-1b.sqlite",
            "SELECT (SELECT value FROM StringIds WHERE id = kernel.demangledName) AS name,"
            f" sum(kernel.end - kernel.start) {KERNELS_OF_DECODE} GROUP BY name ORDER BY 2 DESC LIMIT 1",
        )[0][0]
    )


def idle_ns_of_decode() -> int:
    """Count the time of the decode marks in which no device operation of the report runs."""
    idle = 0
    kinds = ("KERNEL", "MEMCPY", "MEMSET")
    operations = sorted(
        row for kind in kinds for row in select("llama-1b.sqlite", f"SELECT start, end FROM CUPTI_ACTIVITY_KIND_{kind}")
    )
    marks = select("llama-1b.sqlite", f"SELECT DISTINCT mark.start, mark.end {KERNELS_OF_DECODE}")
    for start, end in marks:
        reached = start
        for first, last in operations:
            if last <= reached or first >= end:
                continue
            idle += max(0, first - reached)
            reached = max(reached, last)
        idle += max(0, end - reached)
    return idle


# What 'inject' adds to its phases is known: 50 us of Python before each product, 50 us inside cuBLAS, larger matrices.
EXPECTED: tuple[Any, ...] = (
    True,  # 678 kernels of a few us per step of 37 ms
    "framework",
    "kernels",
    "library",
    "framework",
    kernels_per_step,
    longest_kernel,
    idle_ns_of_decode,
    None,
    "broken",
)


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    return anyio.run(ask_all)


@pytest.mark.parametrize(("number", "task"), list(enumerate(TASKS)), ids=[task.question for task in TASKS])
def test_answer_is_right_and_short(number: int, task: Task, texts: list[list[str]]) -> None:
    answer = read_answer(task, texts[number])
    expected = EXPECTED[number]
    if expected is None:
        assert "--cuda-graph-trace=node" in answer
    else:
        assert answer == (expected() if callable(expected) else expected)
    assert sum(len(text.encode()) for text in texts[number]) < 10_000


def test_page_lists_the_questions() -> None:
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert all(task.question in page for task in TASKS)
