"""Runs one call in a process of its own, with limits of time, memory and output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, Process

from taxbreak_nsys.agent.child_process import OUT_OF_MEMORY
from taxbreak_nsys.errors import TaxbreakError

MOST_OUTPUT = 64_000_000
"""Bytes that the server reads of a call before it cuts rows; a call that prints more fails."""
_MOST_MESSAGE = 4000


@dataclass(frozen=True)
class Limits:
    """What one call may use; `calls` run at once, further ones wait."""

    seconds: float = 120.0
    memory: int = 4_000_000_000
    answer_bytes: int = 24_000
    rows: int = 200
    calls: int = 2


@dataclass(frozen=True)
class CallOutput:
    """What a call printed, and its exit code."""

    text: str
    message: str
    code: int


async def run_call(kind: str, arguments: list[str], limits: Limits) -> CallOutput:
    """Run `query` or a command of the command line; raises TaxbreakError where a limit is passed.

    The process group is killed where the time is over or the client cancels or goes away.
    """
    command = [sys.executable, "-m", "taxbreak_nsys.agent.child_process", str(limits.memory), kind, *arguments]
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    process = await anyio.open_process(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
    output, message = bytearray(), bytearray()
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with anyio.move_on_after(limits.seconds) as timer:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_collect, process.stdout, output, MOST_OUTPUT)
                tasks.start_soon(_collect, process.stderr, message, _MOST_MESSAGE)
                await process.wait()
    finally:
        _kill(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if timer.cancelled_caught:
        raise TaxbreakError(f"took longer than {limits.seconds:g} s; narrow it (phases, rows) or raise --seconds")
    if process.returncode == OUT_OF_MEMORY or process.returncode == -signal.SIGKILL:
        raise TaxbreakError(f"needed more than {limits.memory / 1e9:g} GB of memory; narrow it or raise --memory")
    if len(output) > MOST_OUTPUT:
        raise TaxbreakError(f"printed more than {MOST_OUTPUT / 1e6:g} MB; ask for fewer rows")
    code = process.returncode if process.returncode is not None else 1
    return CallOutput(output.decode("utf-8", "replace"), message.decode("utf-8", "replace"), code)


async def _collect(stream: ByteReceiveStream, held: bytearray, most: int) -> None:
    async for part in stream:
        if len(held) <= most:
            held += part  # what comes after the limit is read and dropped: the process must not block


def _kill(process: Process) -> None:
    """End what is left of the call: the process, and an nsys that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
