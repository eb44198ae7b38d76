"""The MCP server, asked by a real client over standard input and output."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from taxbreak_nsys import analyze
from tests.support.mcp_client import PROJECT, ask, error_of, server_command, session

pytest.importorskip("mcp")
SAMPLES = PROJECT / "sample_reports"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
SORT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 99000000)"
SORT += " SELECT hex(randomblob(2000)) AS noise FROM n ORDER BY noise"

Talk = Callable[[Any], Coroutine[Any, Any, None]]


def talk(root: Path, conversation: Talk, *options: str) -> None:
    """Hold a conversation with a new server; a minute is enough for any of them."""

    async def run() -> None:
        with anyio.fail_after(90):
            async with session(root, *options) as client:
                await conversation(client)

    anyio.run(run)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy(SAMPLES / "llama-1b.sqlite", folder)
    return folder


def test_tools_are_read_only_and_resources_are_the_pages() -> None:
    async def conversation(client: Any) -> None:
        tools = (await client.list_tools()).tools
        asked = {"analyze", "tables", "gaps", "whatif", "compare", "gate", "doctor", "query"}
        assert asked <= {tool.name for tool in tools}
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
        for name, file in (
            ("method", "docs/method.md"),
            ("glossary", "docs/glossary.md"),
            ("skill", "skills/SKILL.md"),
        ):
            page = (await client.read_resource(f"taxbreak://{name}")).contents[0].text
            assert page == (PROJECT / file).read_text(encoding="utf-8")

    talk(SAMPLES, conversation)


def test_answers_are_those_of_the_analysis() -> None:
    result = analyze(SAMPLES / "llama-1b.sqlite")

    async def conversation(client: Any) -> None:
        answer = json.loads(await ask(client, "analyze", report="llama-1b.sqlite"))
        assert answer["report"] == "llama-1b.sqlite"
        for phase in answer["phases"]:
            entry = result.phase(phase["phase"])
            assert phase["states_ns"] == entry.states_ns
            assert sum(phase["states_ns"].values()) == phase["wall_ns"] == entry.wall_ns
            assert phase["taxbreak"]["delta_ft_ns"] == entry.taxbreak.delta_ft_ns
            assert phase["taxbreak"]["hdbi"] == pytest.approx(entry.taxbreak.hdbi, abs=1e-5)
        table = json.loads(
            await ask(client, "tables", report="llama-1b.sqlite", table="taxbreak_kern_sum", phase="decode", limit=5)
        )
        assert len(table["rows"]) == 5
        decode = [row for row in result.kernel_rows if row["phase"] == "decode"]
        assert table["left_out"] == len(decode) - 5
        shown = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        assert [row["device_ns"] for row in shown] == sorted((r["device_ns"] for r in decode), reverse=True)[:5]
        counted = json.loads(
            await ask(client, "query", report="llama-1b.sqlite", sql="SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL")
        )
        assert counted["rows"] == [[sum(row["instances"] for row in result.kernel_rows)]]

    talk(SAMPLES, conversation)


def test_gaps_add_up_to_the_idle_time(root: Path) -> None:
    idle = analyze(SAMPLES / "llama-1b.sqlite").phase("decode").device.idle_ns

    async def conversation(client: Any) -> None:
        answer = json.loads(await ask(client, "gaps", report="llama-1b.sqlite", phase="decode", limit=1000))
        rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
        assert "left_out" not in answer
        assert sum(row["total_ns"] for row in rows) == idle
        longest = [row[answer["longest"]["columns"].index("duration_ns")] for row in answer["longest"]["rows"]]
        assert longest == sorted(longest, reverse=True)
        assert longest[0] == max(row["total_max_ns"] for row in rows)

    talk(root, conversation, "--answer-bytes", "200000")


def test_paths_outside_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(SAMPLES / "llama-1b.sqlite", outside / "secret.sqlite")
    (root / "link.sqlite").symlink_to(outside / "secret.sqlite")
    (root / "folder").symlink_to(outside)
    (root / "repeats").mkdir()
    (root / "repeats" / "one.sqlite").symlink_to(outside / "secret.sqlite")
    (root / "loop.sqlite").symlink_to(root / "loop.sqlite")
    (root / "run.nsys-rep").write_bytes(b"capture")
    (root / "run.sqlite").symlink_to(outside / "secret.sqlite")  # read in place of the capture
    names = ("../outside/secret.sqlite", str(outside / "secret.sqlite"), "link.sqlite", "folder/secret.sqlite",
             "loop.sqlite", "run.nsys-rep", "", "llama-1b.sqlite\0", "missing.sqlite")  # fmt: skip

    async def conversation(client: Any) -> None:
        for name in names:
            for tool, more in (("analyze", {}), ("doctor", {}), ("query", {"sql": "SELECT 1"}), ("whatif", {})):
                text = await error_of(client, tool, report=name, **more)
                assert "\n" not in text
                assert str(outside) not in text.replace(repr(name), ""), "an error shows what lies outside"
        await error_of(client, "compare", before="repeats", after="llama-1b.sqlite")
        await error_of(client, "gate", report="llama-1b.sqlite", rules=["decode.hdbi > 0 * baseline"],
                       baseline="../outside/secret.sqlite")  # fmt: skip
        listed = json.loads(await ask(client, "reports"))
        assert [row[0] for row in listed["rows"]] == ["llama-1b.sqlite", "run.nsys-rep"]

    talk(root, conversation)


def test_arguments_cannot_become_options(root: Path) -> None:
    async def conversation(client: Any) -> None:
        await error_of(client, "gate", report="llama-1b.sqlite", rules=["--junit=hacked.xml"])
        await error_of(client, "analyze", report="llama-1b.sqlite", phases=["--output=hacked.json"])
        await error_of(client, "analyze", report="--output=hacked.json")

    talk(root, conversation)
    assert sorted(path.name for path in root.iterdir()) == ["llama-1b.sqlite"]


def test_queries_only_read(root: Path) -> None:
    report = root / "llama-1b.sqlite"
    before = report.read_bytes()
    refused = (
        "ATTACH 'other.db' AS other", "PRAGMA writable_schema = 1", "DELETE FROM StringIds", "DROP TABLE StringIds",
        "CREATE TABLE t(x)", "SELECT load_extension('x.so')", "SELECT 1; SELECT 2", "VACUUM INTO 'copy.db'",
        "INSERT INTO StringIds VALUES (1, 'x')", "SELECT * FROM no_such_table", "SELEC 1", "",
    )  # fmt: skip

    async def conversation(client: Any) -> None:
        for statement in refused:
            assert "\n" not in await error_of(client, "query", report="llama-1b.sqlite", sql=statement), statement
        rows = json.loads(await ask(client, "query", report="llama-1b.sqlite", sql="SELECT id FROM StringIds", limit=7))
        assert (len(rows["rows"]), rows["more"]) == (7, True)
        odd = await ask(client, "query", report="llama-1b.sqlite", sql="SELECT 9e999 AS a, x'00' AS b")
        assert json.loads(odd, parse_constant=pytest.fail)["rows"] == [[None, "<1 bytes>"]]

    talk(root, conversation)
    assert report.read_bytes() == before
    assert [path.name for path in root.iterdir()] == ["llama-1b.sqlite"]


def test_a_query_opens_a_report_with_the_same_care(root: Path) -> None:
    with closing(sqlite3.connect(root / "view.sqlite")) as database:
        database.executescript("CREATE TABLE StringIds(id, value); CREATE VIEW v AS SELECT 1")
    (root / "log.sqlite").write_bytes((root / "llama-1b.sqlite").read_bytes())
    (root / "log.sqlite-wal").write_bytes(b"changes")
    (root / "short.sqlite").write_bytes((root / "llama-1b.sqlite").read_bytes()[:50_000])

    async def conversation(client: Any) -> None:
        for name, reason in (("view", "holds a view"), ("log", "left changes"), ("short", "cut short")):
            said = await error_of(client, "query", report=f"{name}.sqlite", sql="SELECT 1")
            assert f"{name}.sqlite" in said
            assert reason in said

    talk(root, conversation)


def test_answers_are_bounded(root: Path) -> None:
    hostile = root / "hostile.sqlite"
    shutil.copy(root / "llama-1b.sqlite", hostile)
    with sqlite3.connect(hostile) as database:
        database.execute("UPDATE StringIds SET value = value || ' ' || hex(randomblob(50000))")
    database.close()
    (root / "garbage.sqlite").write_bytes(os.urandom(5000))
    (root / "empty.sqlite").write_bytes(b"")

    async def conversation(client: Any) -> None:
        for tool, arguments in (
            ("analyze", {}),
            ("tables", {"table": "taxbreak_kern_sum", "limit": 1000}),
            ("tables", {"table": "taxbreak_trace", "limit": 1000}),
            ("query", {"sql": "SELECT * FROM StringIds", "limit": 1000}),
        ):
            answer = await ask(client, tool, report="hostile.sqlite", **arguments)
            assert len(answer.encode()) <= 5000
            json.loads(answer)
        for name in ("garbage.sqlite", "empty.sqlite"):
            assert "\n" not in await error_of(client, "analyze", report=name)
            await error_of(client, "query", report=name, sql="SELECT * FROM StringIds")

    talk(root, conversation, "--answer-bytes", "5000")


def test_time_and_memory_are_bounded_and_calls_run_side_by_side(root: Path) -> None:
    async def conversation(client: Any) -> None:
        ended: list[str] = []

        async def call(name: str, sql: str, expected: str) -> None:
            assert expected in await error_of(client, "query", report="llama-1b.sqlite", sql=sql)
            ended.append(name)

        async with anyio.create_task_group() as calls:
            calls.start_soon(call, "endless", ENDLESS, "longer than 8 s")
            await anyio.sleep(0.5)
            await ask(client, "query", report="llama-1b.sqlite", sql="SELECT 1")
            await ask(client, "reports")
            ended.append("others")
        assert ended == ["others", "endless"]
        await call("sort", SORT, "memory")
        await ask(client, "query", report="llama-1b.sqlite", sql="SELECT 1")  # the server goes on

    talk(root, conversation, "--seconds", "8", "--memory", "0.5")


@pytest.fixture
def busy_server(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that answers an endless query, and the process that runs it."""
    command = server_command(root)
    server = subprocess.Popen(
        [sys.executable, *command.args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=command.env,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert server.stdin is not None
    head = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call = {"name": "query", "arguments": {"report": "llama-1b.sqlite", "sql": ENDLESS}}
    for message in (
        {"id": 1, "method": "initialize", "params": head},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ):
        server.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
        server.stdin.flush()
    yield server, _await_child(server.pid)
    server.kill()
    server.wait()


def _await_child(parent: int) -> int:
    for _ in range(200):
        listed = [path.read_text().split() for path in Path(f"/proc/{parent}/task").glob("*/children")]
        if children := [int(pid) for pids in listed for pid in pids]:
            return children[0]
        time.sleep(0.1)
    raise AssertionError("the server started no process for the call")


def _ends(pid: int) -> bool:
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_a_client_that_goes_away_ends_the_call(busy_server: tuple[subprocess.Popen[str], int]) -> None:
    server, child = busy_server
    assert server.stdin is not None
    server.stdin.close()
    assert _ends(server.pid)
    assert _ends(child)


def test_a_server_that_is_killed_leaves_no_process(busy_server: tuple[subprocess.Popen[str], int]) -> None:
    server, child = busy_server
    server.send_signal(signal.SIGKILL)
    assert _ends(child)


def test_a_root_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taxbreak_nsys", "mcp", "--root", str(tmp_path / "none")],
        capture_output=True, text=True, check=False, env=server_command(tmp_path).env,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
