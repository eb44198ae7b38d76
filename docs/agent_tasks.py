"""Ten questions that an assistant is asked about the sample reports, and the calls that answer them.

`python -m docs.agent_tasks` asks them over MCP and prints the table of docs/agents.md: calls, bytes and tokens of the
answers, beside what `nsys stats` prints for the same reports (needs nsys on PATH; tokens need the package rs-bpe).
The test tests/integration/test_agent_tasks.py checks every answer against a value from another source.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_reports"
Answers = Sequence[Any]


@dataclass(frozen=True)
class Task:
    """A question, the calls (tool, arguments) that answer it, and how the answer is read from what they return."""

    question: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    read: Callable[[Answers], Any]
    in_nsys_stats: str
    """Whether `nsys stats` on its own answers it."""

    @property
    def reports(self) -> list[str]:
        """The reports that the question is about."""
        keys = ("report", "before", "after")
        return list(dict.fromkeys(given[key] for _, given in self.calls for key in keys if key in given))


def phase(answer: Any, label: str) -> Any:
    """Return the entry of a phase from an answer of `analyze` or `whatif`."""
    return next(entry for entry in answer["phases"] if entry["phase"] == label)


def change(answer: Any, after: str, metric: str) -> dict[str, Any]:
    """Return one change of the phase that is called `after` in the second report, by column name."""
    changes = next(entry for entry in answer["phases"] if entry["after"] == after)["changes"]
    rows = [dict(zip(changes["columns"], row, strict=True)) for row in changes["rows"]]
    return next(row for row in rows if row["metric"] == metric)


def _largest_layer_change(answer: Any, after: str) -> str:
    figures = {"framework": "delta_ft_ns", "library": "delta_ct_ns", "launch": "launch_ns"}
    layers = {name: change(answer, after, figure)["difference"] for name, figure in figures.items()}
    return max(layers, key=lambda name: float(layers[name]))


def _best_lever(answer: Any, label: str) -> str:
    levers = [row for row in phase(answer, label)["levers"] if "half_saves_share" in row and row["lever"] != "cpu"]
    return str(max(levers, key=lambda row: float(row["half_saves_share"]))["lever"])


_LLAMA, _INJECT = "llama-1b.sqlite", "inject.sqlite"
TASKS = (
    Task(
        "Is decode of llama-1b host-bound?",
        (("analyze", {"report": _LLAMA}),),
        lambda answers: phase(answers[0], "decode")["taxbreak"]["hdbi"] < 0.5,
        "no: no phases, no host layers",
    ),
    Task(
        "Which layer saves most in decode of llama-1b if its time is halved?",
        (("whatif", {"report": _LLAMA}),),
        lambda answers: _best_lever(answers[0], "decode"),
        "no",
    ),
    Task(
        "Which lever saves most in the phase 'device' of inject?",
        (("whatif", {"report": _INJECT}),),
        lambda answers: _best_lever(answers[0], "device"),
        "no",
    ),
    Task(
        "Which layer makes the phase 'library' of inject slower than 'base'?",
        (("compare", {"before": _INJECT, "after": _INJECT, "map": ["base=library"]}),),
        lambda answers: _largest_layer_change(answers[0], "library"),
        "no: its NVTX tables mix the phases with library ranges",
    ),
    Task(
        "Which layer makes the phase 'framework' of inject slower than 'base'?",
        (("compare", {"before": _INJECT, "after": _INJECT, "map": ["base=framework"]}),),
        lambda answers: _largest_layer_change(answers[0], "framework"),
        "no",
    ),
    Task(
        "How many kernels does one decode step of llama-1b run?",
        (("analyze", {"report": _LLAMA}),),
        lambda answers: phase(answers[0], "decode")["kernels"] / phase(answers[0], "decode")["instances"],
        "no: only kernels of the whole report",
    ),
    Task(
        "Which kernel takes most device time in decode of llama-1b?",
        (("tables", {"report": _LLAMA, "table": "taxbreak_kern_sum", "phase": "decode", "limit": 1}),),
        lambda answers: answers[0]["rows"][0][answers[0]["columns"].index("name")],
        "for the whole report only",
    ),
    Task(
        "For how many ns is the device idle during decode of llama-1b?",
        (("analyze", {"report": _LLAMA}),),
        lambda answers: phase(answers[0], "decode")["device"]["idle_ns"],
        "no",
    ),
    Task(
        "Why is HDBI of decode_graph in graph-graph missing, and which flag of nsys would measure it?",
        (("analyze", {"report": "graph-graph.sqlite"}),),
        lambda answers: phase(answers[0], "decode_graph")["taxbreak"]["hdbi_reason"],
        "no: graph launches without kernels go unmentioned",
    ),
    Task(
        "Does decode of llama-1b keep the rule HDBI >= 0.2?",
        (("gate", {"report": _LLAMA, "rules": ["decode.hdbi >= 0.2"]}),),
        lambda answers: answers[0]["rules"][0]["verdict"],
        "no",
    ),
)


async def ask_all(tasks: Sequence[Task] = TASKS) -> list[list[str]]:
    """Return the texts that a server over the sample reports answers to each task's calls."""
    from tests.support.mcp_client import ask, session

    async with session(SAMPLES) as client:
        return [[await ask(client, tool, **given) for tool, given in task.calls] for task in tasks]


def main() -> None:
    """Print the table of docs/agents.md."""
    import anyio

    stats = {report: _nsys_stats(report) for report in sorted({name for task in TASKS for name in task.reports})}
    print("| question | calls | bytes | tokens | `nsys stats`: bytes | tokens | answers it? |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    totals = [0, 0, 0, 0]
    for task, texts in zip(TASKS, anyio.run(ask_all), strict=True):
        shown, printed = "".join(texts), "".join(stats[report] for report in task.reports)
        sizes = [len(shown.encode()), _tokens(shown), len(printed.encode()), _tokens(printed)]
        totals = [total + size for total, size in zip(totals, sizes, strict=True)]
        cells = (f"{size:,}" for size in sizes)
        tools = ", ".join(f"`{tool}`" for tool, _ in task.calls)
        ours, tokens, theirs, their_tokens = cells
        row = (task.question, tools, ours, tokens, theirs, their_tokens, task.in_nsys_stats)
        print(f"| {' | '.join(row)} |")
    print("| **all** | | " + " | ".join(f"**{total:,}**" for total in totals) + " | |")


def _nsys_stats(report: str) -> str:
    """Return what `nsys stats` prints of a report with its default tables, in its default format."""
    with tempfile.TemporaryDirectory() as work:
        copy = shutil.copy(SAMPLES / report, work)
        command = ["nsys", "stats", "--force-export=false", str(copy)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _tokens(text: str) -> int:
    from rs_bpe.bpe import openai

    return len(openai.cl100k_base().encode(text))


def read_answer(task: Task, texts: Sequence[str]) -> Any:
    """Return the answer to a task from the texts of its calls."""
    return task.read([json.loads(text) for text in texts])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
