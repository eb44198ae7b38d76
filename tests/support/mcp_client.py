"""A real MCP client that starts the server as an assistant does: over standard input and output."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

PROJECT = Path(__file__).resolve().parents[2]


def server_command(root: Path, *options: str) -> StdioServerParameters:
    """Return the command that serves a folder, with the environment of the tests."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "taxbreak_nsys", "mcp", "--root", str(root), *options],
        env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
    )


@asynccontextmanager
async def session(root: Path, *options: str) -> AsyncIterator[ClientSession]:
    """Start a server for a folder and yield a session with it that is initialised."""
    async with stdio_client(server_command(root, *options)) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        yield client


async def ask(client: ClientSession, tool: str, /, **arguments: Any) -> str:
    """Return a tool's answer as text; AssertionError with the text where it is an error."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    assert not result.is_error, text
    return str(text)


async def error_of(client: ClientSession, tool: str, /, **arguments: Any) -> str:
    """Return the text of the error that a call ends with; AssertionError where it answers."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    assert result.is_error, text
    return str(text)
