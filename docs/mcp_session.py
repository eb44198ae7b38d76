"""Prints a session with the MCP server as a log, for docs/agents.md: `python -m docs.mcp_session`."""

from __future__ import annotations

import sys
from typing import Any

from docs.agent_tasks import ROOT, SAMPLES

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("reports", {}),
    ("gate", {"report": "llama-1b.sqlite", "rules": ["decode.hdbi >= 0.2", "decode.kernel_launches_per_step <= 700"]}),
    ("tables", {"report": "llama-1b.sqlite", "table": "taxbreak_kern_sum", "phase": "decode", "limit": 2}),
    ("whatif", {"report": "llama-1b.sqlite", "graphs": True}),
    ("query", {"report": "llama-1b.sqlite", "sql": "SELECT count(*) AS kernels FROM CUPTI_ACTIVITY_KIND_KERNEL"}),
    ("query", {"report": "llama-1b.sqlite", "sql": "DELETE FROM StringIds"}),
    ("analyze", {"report": "../../etc/passwd"}),
)
LONGEST_LINE = 400


async def print_session() -> None:
    """Talk to a server over the sample reports and print each call and its answer."""
    from tests.support.mcp_client import session

    async with session(SAMPLES) as client:
        tools = await client.list_tools()
        print(f"tools/list -> {', '.join(tool.name for tool in tools.tools)}")
        resources = await client.list_resources()
        print(f"resources/list -> {', '.join(str(resource.uri) for resource in resources.resources)}")
        for tool, arguments in CALLS:
            result = await client.call_tool(tool, arguments)
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            text = result.content[0].text
            kind = "error" if result.is_error else "answer"
            print(f"\ncall {tool}({given})\n{kind}: {text[:LONGEST_LINE]}{'…' if len(text) > LONGEST_LINE else ''}")


if __name__ == "__main__":
    import anyio

    sys.path.insert(0, str(ROOT))
    anyio.run(print_session)
