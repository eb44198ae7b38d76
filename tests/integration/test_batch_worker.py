"""The processes of a batch: used again while they are clean, and replaced when they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, get_context
from pathlib import Path
from typing import Any

import pytest

from taxbreak_nsys.batch import worker_process as child_module
from taxbreak_nsys.batch.job import Job, Settings
from taxbreak_nsys.batch.worker import Child, ForkServer, Worker
from taxbreak_nsys.batch.worker_process import KEPT_MEMORY, serve
from taxbreak_nsys.pipeline.analysis import Options
from taxbreak_nsys.store.records import Analysed, Failed, Outcome, Unchanged
from tests.support.reports import find_report


@pytest.fixture
def worker() -> Iterator[Worker]:
    with ForkServer() as fork_server:
        made = Worker(fork_server, Settings(Options(), timeout_s=120, memory=2**30))
        yield made
        made.close()


def pid_of(worker: Worker) -> int:
    assert worker._child is not None
    return worker._child.pid


def folder_of(worker: Worker) -> Path:
    return Path(worker._folder.name)


def test_good_reports_share_a_process_and_a_bad_one_ends_it(worker: Worker, tmp_path: Path) -> None:
    good = Job(str(find_report("null-kernel")))
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"no report")
    assert isinstance(worker.run(good), Analysed)
    first = pid_of(worker)
    assert isinstance(worker.run(Job(str(find_report("llama-1b")))), Analysed)
    assert pid_of(worker) == first
    assert isinstance(worker.run(Job(str(bad))), Failed)
    assert worker._child is None
    assert isinstance(worker.run(good), Analysed)
    assert pid_of(worker) != first
    assert list(folder_of(worker).iterdir()) == []


def test_a_used_process_gives_what_a_new_one_gives(worker: Worker) -> None:
    jobs = [Job(str(find_report(name))) for name in ("llama-1b", "graph-graph", "multi", "llama-1b-aten", "llama-1b")]
    used = [worker.run(job) for job in jobs]
    for job, outcome in zip(jobs, used, strict=True):
        worker.leave()
        new = worker.run(job)
        assert isinstance(outcome, Analysed)
        assert isinstance(new, Analysed)
        assert outcome.result == new.result


def test_what_dies_without_a_report_costs_none(worker: Worker) -> None:
    job = Job(str(find_report("null-kernel")))
    worker.run(job)
    os.kill(pid_of(worker), signal.SIGKILL)
    assert worker._child is not None
    assert worker._child.connection.poll(10)
    assert isinstance(worker.run(job), Analysed)
    worker._fork_server._process.kill()
    worker._fork_server._process.wait()
    assert worker._child.connection.poll(10)  # the children end with it
    assert isinstance(worker.run(job), Analysed)


def packages_after(*lines: str) -> set[str]:
    """The packages that a new interpreter has imported after some lines, without Python's own."""
    packages = "{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'__mp_main__'}"
    shown = f"import sys; print(*{packages})"
    command = [sys.executable, "-c", "\n".join([*lines, shown])]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split())


def test_the_fork_server_imports_what_an_analysis_imports_and_no_more() -> None:
    """What a child imports, every child imports; and what no analysis imports is start-up for nothing."""
    names = ("llama-1b", "llama-1b-aten", "graph-graph", "inject", "multi")
    analyses = (
        "from taxbreak_nsys.pipeline.analysis import analyze_report as analyze",
        f"for report in {[str(find_report(name)) for name in names]!r}: analyze(report).to_dict()",
    )
    fork_server = "from taxbreak_nsys.batch import fork_server; fork_server.import_all()"
    alone, before = packages_after(*analyses), packages_after(fork_server)
    after = packages_after(fork_server, *analyses)
    assert after - before == set(), "import these in fork_server.import_all"
    assert before - alone == set(), "no longer import these in fork_server.import_all"


class Scripted:
    """In place of a fork server: children that answer as a function says, which is given how many they had before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, examine: Callable[[Job, int], Outcome]) -> None:
        count = 0

        def counted(job: Job, settings: Settings, folder: Path) -> Outcome:
            nonlocal count
            count += 1
            return examine(job, count - 1)

        monkeypatch.setattr(child_module, "examine", counted)
        self.forks = 0

    def fork(self, settings: Settings, folder: Path) -> Any:
        ours, theirs = Pipe()
        process = get_context("fork").Process(target=serve, args=(theirs, settings, folder, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        self.forks += 1
        return Child(process.pid or 0, ours, process)  # type: ignore[arg-type]

    def end(self, child: Any) -> int | None:
        child.connection.close()
        child.forked_from.kill()
        child.forked_from.join()
        code: int | None = child.forked_from.exitcode
        return code


held: list[Any] = []


def leaves_memory(job: Job, before: int) -> Outcome:
    held.append(bytearray(KEPT_MEMORY + 2**20))
    return Unchanged(job.path, {}, "")


def leaves_file(job: Job, before: int) -> Outcome:
    held.append(open(os.devnull))  # noqa: SIM115
    return Unchanged(job.path, {}, "")


def leaves_thread(job: Job, before: int) -> Outcome:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return Unchanged(job.path, {}, "")


def leaves_nothing(job: Job, before: int) -> Outcome:
    return Unchanged(job.path, {}, "")


@pytest.mark.parametrize(
    ("examine", "forks"), [(leaves_memory, 3), (leaves_file, 3), (leaves_thread, 3), (leaves_nothing, 1)]
)
def test_what_a_report_leaves_ends_its_process(
    examine: Callable[[Job, int], Outcome], forks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_server = Scripted(monkeypatch, examine)
    worker = Worker(fork_server, Settings(Options()))  # type: ignore[arg-type]
    for _ in range(3):
        assert isinstance(worker.run(Job("x")), Unchanged)
    assert fork_server.forks == forks
    worker.close()


def test_isolate_asks_for_a_process_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_server = Scripted(monkeypatch, leaves_nothing)
    worker = Worker(fork_server, Settings(Options(), isolate=True))  # type: ignore[arg-type]
    for _ in range(3):
        assert isinstance(worker.run(Job("x")), Unchanged)
    assert fork_server.forks == 3
    worker.close()


def test_a_process_whose_fork_server_died_at_once_ends(tmp_path: Path) -> None:
    """The death signal is asked for after the fork: a parent that died before sends none."""
    ours, theirs = Pipe()
    dead = subprocess.Popen(["true"])
    dead.wait()
    arguments = theirs, Settings(Options()), tmp_path, dead.pid
    process = get_context("fork").Process(target=serve, args=arguments, daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(30)
    with pytest.raises(EOFError):
        ours.recv()
    process.join()


@pytest.mark.parametrize("kind", ["memory", "defect"])
def test_a_failure_that_the_past_may_explain_is_judged_anew(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(job: Job, before: int) -> Outcome:
        return Failed(job.path, kind, "no") if before or job.path == "bad" else Unchanged(job.path, {}, "")

    fork_server = Scripted(monkeypatch, examine)
    worker = Worker(fork_server, Settings(Options()))  # type: ignore[arg-type]
    assert isinstance(worker.run(Job("a")), Unchanged)
    assert isinstance(worker.run(Job("b")), Unchanged)  # failed in the process of a, not in one of its own
    assert fork_server.forks == 2
    worker.leave()
    # in a process of its own it is a failure at once, and that process is the last
    assert worker.run(Job("bad")) == Failed("bad", kind, "no")
    assert fork_server.forks == 3
    worker.close()
