"""Lines of the text report: who was on a CPU while the host threads of an engine waited in the OS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.output.units import show_share, show_time

if TYPE_CHECKING:
    from taxbreak_nsys.model.engine_figures import OnCpuInWait, OsWait
    from taxbreak_nsys.result import Result

_MOST_PROCESSES = 3


def os_wait_lines(result: Result, unit: str | None) -> list[str]:
    """Return one line for each host thread with an engine's steps that waited in the OS, given context switches."""
    instances = result.instances
    engines = {(pid(thread), tid(thread)) for thread in instances.thread[instances.cycle].tolist()}
    names = {process.process: ", ".join(process.names[:3]) for process in result.processes}
    return [
        _line(wait, names, unit)
        for wait in result.os_waits
        if wait.on_cpu is not None and (wait.process, wait.thread) in engines
    ]


def _line(wait: OsWait, names: dict[int, str], unit: str | None) -> str:
    waited = show_time(wait.wait_ns, unit)
    line = f"thread {wait.thread} of process {wait.process} waited in the OS for {waited} of its steps"
    if not wait.on_cpu:
        return f"{line}; no other thread was on a CPU meanwhile."
    shown = []
    for number, row in enumerate(wait.on_cpu[:_MOST_PROCESSES]):
        of_wait, of_rest = ("", "") if number else (" of the wait", " of the rest")
        share = f"{show_share(row.wait_ns, wait.wait_ns or 0)} %{of_wait}"
        if row.rest_share is not None:
            share += f", {show_share(row.rest_ns, wait.rest_ns or 0)} %{of_rest}"
        shown.append(f"{_name(row, names)} for {show_time(row.wait_ns, unit)} ({share})")
    left = len(wait.on_cpu) - len(shown)
    if left:
        shown.append(f"{left} more process{'es' if left > 1 else ''}")
    return f"{line}. On a CPU meanwhile: {'; '.join(shown)}. {_likely(wait)}"


def _name(row: OnCpuInWait, names: dict[int, str]) -> str:
    if row.own:
        return "other threads of its process"
    name = names.get(row.process)
    return f"process {row.process} ({name})" if name else f"process {row.process}"


def _likely(wait: OsWait) -> str:
    if wait.likely_process is None:
        return f"Which of them it waited for cannot be told: {wait.reason}."
    who = "other threads of its process" if wait.likely_process == wait.process else f"process {wait.likely_process}"
    return f"It likely waited for {who}: no other process of the report was on a CPU for half of it."
