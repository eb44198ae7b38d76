"""Runs one call in its own process, with limits on time, memory and output."""

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
"""Bytes that a call may print; a call that prints more fails. The server cuts rows only after it has all of them."""
_MOST_MESSAGE = 4000


@dataclass(frozen=True)
class Limits:
    """Limits of one call: seconds, bytes of memory, bytes and rows of the answer; `calls` run at once, others wait."""

    seconds: float = 120.0
    memory: int = 4_000_000_000
    answer_bytes: int = 24_000
    rows: int = 200
    calls: int = 2


@dataclass(frozen=True)
class CallOutput:
    """The stdout (`text`) and stderr (`message`) of a call, and its exit code."""

    text: str
    message: str
    code: int


async def run_call(kind: str, arguments: list[str], limits: Limits) -> CallOutput:
    """Run a `query` or a `command` of the command line; raises TaxbreakError if it exceeds a limit.

    The process group is killed on timeout, and when the client cancels or disconnects.
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


async def _collect(stream: ByteReceiveStream, collected: bytearray, most: int) -> None:
    async for part in stream:
        if len(collected) <= most:
            collected += part  # beyond the limit, output is read and dropped so that the process does not block


def _kill(process: Process) -> None:
    """Kill the process group of the call: the process, and any nsys that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
