"""Batches: which reports, into which store, and what one bad report costs."""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.batch.report_discovery import find
from taxbreak_nsys.batch.tags import TagRules
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.cli.batch import distinct_ends
from taxbreak_nsys.store import models
from taxbreak_nsys.store.store_opening import Store, open_store
from tests.support.reports import find_report

Run = subprocess.CompletedProcess[str]


def batch(*args: str | Path, stdin: str | None = None, **options: Any) -> Run:
    command = [sys.executable, "-m", "taxbreak_nsys", "batch", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=170, check=False, **options)


def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    with store.begin() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


def count(url: str, table: Any) -> int:
    with open_store(url) as store, store.begin() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three good reports in dated folders."""
    for model, date, name in (
        ("llama", "20260101", "llama-1b"),
        ("llama", "20260102", "multi"),
        ("graph", "20260101", "graph-graph"),
    ):
        folder = tmp_path / "archive" / model / date
        folder.mkdir(parents=True)
        shutil.copy(find_report(name), folder / f"{name}.sqlite")
    return tmp_path / "archive"


def broken_reports(folder: Path) -> dict[Path, str]:
    """Files that the main command refuses, and a word of what it says."""
    folder.mkdir(parents=True)
    good = find_report("llama-1b").read_bytes()
    made = {
        "empty": (b"", "is empty"),
        "text": (b"no database, for sure\n" * 100, "not an SQLite file"),
        "cut": (good[:300_000], "cut short"),
    }
    expected = {}
    for name, (content, word) in made.items():
        path = folder / f"{name}.sqlite"
        path.write_bytes(content)
        expected[path] = word
    other = folder / "other.sqlite"
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.commit()
    expected[other] = "not an Nsight Systems export"
    packed = folder / "packed.sqlite.gz"
    packed.write_bytes(gzip.compress(good)[:200_000])
    expected[packed] = "compressed file is damaged"
    for suffix, compressed in ((".xz", lzma.compress(good)), (".zst", pa.compress(good, "zstd", asbytes=True))):
        path = folder / f"half.sqlite{suffix}"
        path.write_bytes(compressed[: len(compressed) // 2])
        expected[path] = "compressed file is damaged"
    return expected


def test_rows_are_the_results_of_single_analyses(archive: Path, store_url: str) -> None:
    done = batch(archive, "--store", store_url, "--tag-from", r"(?P<model>\w+)/(?P<date>\d{8})/", "--tag", "team=a b")
    assert done.returncode == 0, done.stderr
    with open_store(store_url) as store:
        reports = rows(store, models.reports)
        assert [Path(row["path"]).name for row in sorted(reports, key=lambda row: row["path"])] == [
            "graph-graph.sqlite", "llama-1b.sqlite", "multi.sqlite",
        ]  # fmt: skip
        phases, states, kernels = (rows(store, t) for t in (models.phases, models.states, models.kernels))
        for report in reports:
            result = analyze(report["path"], sha256=True).to_dict()
            assert report["sha256"] == result["report"]["sha256"]
            assert report["capture"] == str(result["report"]["captured_utc_ns"])
            mine = [row for row in phases if row["report_id"] == report["id"]]
            assert len(mine) == len(result["phases"])
            for row, entry in zip(mine, result["phases"], strict=True):
                assert (row["phase"], row["process"], row["thread"]) == (
                    entry["phase"], entry["process"], entry["thread"],
                )  # fmt: skip
                for key in ("delta_ft_ns", "delta_ct_ns", "delta_kt_ns", "hdbi", "t_orchestration_ns", "evidence"):
                    assert row[key] == entry["taxbreak"][key]
                assert row["device_active_ns"] == entry["device"]["active_ns"]
                held = {s["state"]: s for s in states if s["phase_id"] == row["id"]}
                assert {name: s["total_ns"] for name, s in held.items()} == entry["states_ns"]
                assert sum(s["total_ns"] for s in held.values()) == row["wall_ns"]
                if entry["exposed_ns"] is None:
                    assert {s["exposed_ns"] for s in held.values()} == {None}
                else:
                    assert {name: s["exposed_ns"] for name, s in held.items()} == entry["exposed_ns"]
                if entry["thread"] is not None:
                    own = [k for k in kernels if k["phase_id"] == row["id"]]
                    assert sum(k["instances"] for k in own) == entry["kernels"]
            labels = [row["phase"] for row in mine if row["whole_label"]]
            assert sorted(labels) == sorted(set(labels)) == sorted({row["phase"] for row in mine})
        tags = {(row["report_id"], row["key"]): row["value"] for row in rows(store, models.tags)}
        assert {tags[report["id"], "model"] for report in reports} == {"llama", "graph"}
        assert {tags[report["id"], "date"] for report in reports} == {"20260101", "20260102"}
        assert {tags[report["id"], "team"] for report in reports} == {"a b"}


def test_second_run_does_only_what_is_new_or_changed(archive: Path, store_url: str) -> None:
    assert "3 analysed, 0 unchanged" in batch(archive, "--store", store_url).stderr
    again = batch(archive, "--store", store_url, "--tag", "run=2")
    assert "0 analysed, 3 unchanged" in again.stderr
    assert count(store_url, models.tags) == 3
    # another capture under a name that is known, and one report that is new
    shutil.copy(find_report("graph-node"), archive / "graph/20260101/graph-graph.sqlite")
    shutil.copy(find_report("null-kernel"), archive / "new.sqlite")
    assert "2 analysed, 2 unchanged" in batch(archive, "--store", store_url).stderr
    assert count(store_url, models.reports) == 5
    # other choices are another analysis, in place of the first
    assert "4 analysed, 0 unchanged" in batch(archive, "--store", store_url, "--t-sys", "5us").stderr
    assert count(store_url, models.reports) == 5


def test_broken_reports_are_rows_and_the_good_are_stored(archive: Path, tmp_path: Path, store_url: str) -> None:
    expected = broken_reports(archive / "broken")
    missing = tmp_path / "missing.sqlite"
    done = batch(archive, missing, "--store", store_url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert count(store_url, models.reports) == 3
    with open_store(store_url) as store:
        failures = {Path(row["path"]): row for row in rows(store, models.failures)}
    assert set(failures) == {*expected, missing}
    assert "no such file" in failures[missing]["message"]
    for path, word in expected.items():
        message = failures[path]["message"]
        assert word in message
        assert message.startswith(f"{path}: ")
        assert message in done.stderr
        assert failures[path]["kind"] == "refused"
    # what the main command says of the same file
    with pytest.raises(TaxbreakError) as said:
        analyze(archive / "broken/cut.sqlite")
    assert failures[archive / "broken/cut.sqlite"]["message"] == str(said.value)
    # mended, its row is gone
    shutil.copy(find_report("llama-1b"), archive / "broken/cut.sqlite")
    assert batch(archive / "broken/cut.sqlite", "--store", store_url).returncode == 0
    assert count(store_url, models.failures) == len(expected)


def test_compressed_reports_give_the_figures_of_the_plain_one(tmp_path: Path) -> None:
    plain = find_report("llama-1b")
    content = plain.read_bytes()
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "a.sqlite.gz").write_bytes(gzip.compress(content, 1))
    (folder / "b.sqlite.xz").write_bytes(lzma.compress(content, preset=0))
    (folder / "c.sqlite.zst").write_bytes(pa.compress(content, "zstd", asbytes=True))
    place = tmp_path / "place"
    place.mkdir()
    url = str(tmp_path / "store.db")
    done = batch(folder, plain, "--store", url, env=os.environ | {"TMPDIR": str(place)})
    assert done.returncode == 0, done.stderr
    assert list(place.iterdir()) == []
    with open_store(url) as store:
        ids = [row["id"] for row in rows(store, models.reports)]
        assert len(ids) == 4
        phases = rows(store, models.phases)
    by_report = [
        [{k: v for k, v in row.items() if k not in ("id", "report_id")} for row in phases if row["report_id"] == i]
        for i in ids
    ]
    assert all(found == by_report[0] for found in by_report)
    small = batch(folder, "--store", tmp_path / "small.db", "--unpack-limit", "100k")
    assert small.returncode == 1
    assert small.stderr.count("--unpack-limit") == 3


def test_time_and_memory_are_limited_a_report(tmp_path: Path, store_url: str) -> None:
    large = tmp_path / "large.sqlite"
    shutil.copy(find_report("llama-1b"), large)
    with contextlib.closing(sqlite3.connect(large)) as database:
        # 1.5 million calls of a process that launches nothing: no figure changes, but they must be read
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000) "
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME "
            "(start, end, eventClass, globalTid, correlationId, returnValue, nameId) "
            "SELECT 10 * i, 10 * i + 5, 0, 99 << 24, i, 0, (SELECT min(nameId) FROM CUPTI_ACTIVITY_KIND_RUNTIME) FROM n"
        )
        database.commit()
    small = find_report("null-kernel")
    done = batch(large, small, "--store", store_url, "--memory", "128M", "--jobs", "1")
    assert done.returncode == 1
    with open_store(store_url) as store:
        (failure,) = rows(store, models.failures)
        assert (failure["path"], failure["kind"]) == (str(large), "memory"), failure
        assert "--memory" in failure["message"]
        assert [row["path"] for row in rows(store, models.reports)] == [str(small)]
    # enough memory, and a time that nothing can be done in
    late = batch(large, "--store", store_url, "--timeout", "0.05")
    assert late.returncode == 1
    with open_store(store_url) as store:
        (failure,) = rows(store, models.failures)
        assert failure["kind"] == "timeout"
        assert "--timeout" in failure["message"]
    assert batch(large, "--store", store_url).returncode == 0
    assert count(store_url, models.failures) == 0
    assert count(store_url, models.reports) == 2


@pytest.mark.parametrize("limit", ["1M", "2M", "4M", "8M"])
def test_too_little_memory_is_no_fault_of_the_report(limit: str, tmp_path: Path) -> None:
    """Whatever cannot be had first at the limit: a stack, a library, a column."""
    url = str(tmp_path / "store.db")
    names = ("llama-1b", "graph-graph", "inject")
    done = batch(*map(find_report, names), "--store", url, "--memory", limit)
    assert done.returncode == 1
    with open_store(url) as store:
        failures = rows(store, models.failures)
    assert len(failures) == len(names)
    for failure in failures:
        assert failure["kind"] in ("memory", "killed"), failure
        assert "--memory" in failure["message"]


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextlib.contextmanager
def running(*args: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "taxbreak_nsys", "batch", *map(str, args)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def pipe_report(tmp_path: Path) -> Callable[[str], Path]:
    """A report that never comes to an end: a pipe that nobody writes to."""

    def make(name: str) -> Path:
        path = tmp_path / name
        os.mkfifo(path)
        return path

    return make


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@contextlib.contextmanager
def being_read(pipe: Path) -> Iterator[None]:
    """Wait until a process reads the pipe; it then finds no end of the file before this context ends."""

    def opened() -> int | None:
        with contextlib.suppress(OSError):  # nobody has it open for reading
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return None

    descriptor = until(opened)
    try:
        yield
    finally:
        os.close(descriptor)


def grandchild(process: subprocess.Popen[str]) -> int | None:
    """The process of the one report that is left: the only living child of a child."""
    found = [g for child in children(process.pid) for g in children(child) if alive(g)]
    return found[0] if len(found) == 1 else None


def test_killed_worker_costs_one_row(archive: Path, pipe_report, store_url: str) -> None:
    endless = pipe_report("endless.sqlite")
    with running(endless, archive, "--store", store_url, "--jobs", "2") as process:
        until(lambda: count_or_none(store_url) == 3)
        os.kill(until(lambda: grandchild(process)), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SIGKILL" in said
    with open_store(store_url) as store:
        (failure,) = rows(store, models.failures)
    assert (failure["path"], failure["kind"]) == (str(endless), "killed")


def count_or_none(url: str) -> int | None:
    try:
        return count(url, models.reports)
    except TaxbreakError:
        return None


def test_killed_fork_server_costs_no_report(archive: Path, pipe_report, tmp_path: Path) -> None:
    """What ran on it is analysed once more; what ends it twice has failed."""
    url = str(tmp_path / "store.db")
    endless = pipe_report("endless.sqlite")
    with running(endless, archive, "--store", url, "--jobs", "2") as process:
        until(lambda: count_or_none(url) == 3)
        for _ in range(2):
            with being_read(endless):
                worker = until(lambda: grandchild(process))
                os.kill(until(lambda: children(process.pid))[0], signal.SIGKILL)
                until(lambda: not alive(worker))  # noqa: B023
        process.communicate(timeout=60)
    assert process.returncode == 1
    with open_store(url) as store:
        (failure,) = rows(store, models.failures)
    assert (failure["path"], failure["kind"]) == (str(endless), "killed")


def test_reports_that_ran_on_a_killed_fork_server_are_analysed(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(24):
        shutil.copy(find_report("inject"), folder / f"{number}.sqlite")
    url = str(tmp_path / "store.db")
    with running(folder, "--store", url, "--jobs", "2") as process:
        until(lambda: (count_or_none(url) or 0) >= 4)
        os.kill(until(lambda: children(process.pid))[0], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "24 analysed, 0 unchanged, 0 failed" in said
    with open_store(url) as store:
        assert rows(store, models.failures) == []


def test_interrupt_leaves_what_is_done_and_no_process(archive: Path, pipe_report, tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    endless = pipe_report("endless.sqlite")
    place = tmp_path / "place"
    place.mkdir()
    with running(endless, archive, "--store", url, "--jobs", "2", env=os.environ | {"TMPDIR": str(place)}) as process:
        until(lambda: count_or_none(url) == 3)
        worker = until(lambda: grandchild(process))
        until(lambda: len(list(place.iterdir())) == 2)
        time.sleep(0.5)  # the third outcome is counted too: the batch waits for the endless report
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "3 of 4 reports are done" in said
    assert "Traceback" not in said
    until(lambda: not alive(worker))
    assert list(place.iterdir()) == []
    endless.unlink()
    assert "0 analysed, 3 unchanged" in batch(archive, "--store", url).stderr


def test_death_of_the_batch_ends_its_workers(pipe_report, tmp_path: Path) -> None:
    endless = pipe_report("endless.sqlite")
    with running(endless, "--store", tmp_path / "store.db", "--jobs", "1") as process:
        worker = until(lambda: grandchild(process))
        fork_server = children(process.pid)[0]
        process.kill()
        until(lambda: not alive(worker) and not alive(fork_server))


def test_report_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taxbreak_nsys.batch.job import Job, Settings
    from taxbreak_nsys.batch.report_examination import examine
    from taxbreak_nsys.pipeline import analysis
    from taxbreak_nsys.store.records import Analysed, Failed

    path = tmp_path / "growing.sqlite"
    shutil.copy(find_report("null-kernel"), path)
    whole = analysis.analyze_report

    def slow(report: Path, options: Any, **more: Any) -> Any:
        result = whole(report, options, **more)
        with path.open("ab") as file:
            file.write(b"more")
        return result

    settings = Settings(analysis.Options())
    (tmp_path / "work").mkdir()
    assert isinstance(examine(Job(str(path)), settings, tmp_path / "work"), Analysed)
    monkeypatch.setattr(analysis, "analyze_report", slow)
    outcome = examine(Job(str(path)), settings, tmp_path / "work")
    assert isinstance(outcome, Failed)
    assert outcome.kind == "changed"
    assert "changed while it was read" in outcome.message


def test_two_batches_at_once_on_one_store(archive: Path, store_url: str) -> None:
    with running(archive, "--store", store_url) as one, running(archive, "--store", store_url) as two:
        said = [process.communicate(timeout=120)[1] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), said
    assert count(store_url, models.reports) == 3
    with open_store(store_url) as store:
        phases = rows(store, models.phases)
        assert len(phases) == sum(len(analyze(r["path"]).entries) for r in rows(store, models.reports))


def test_full_disk_leaves_whole_reports(archive: Path, tmp_path: Path) -> None:
    url = tmp_path / "store.db"
    assert batch(archive / "graph", "--store", url).returncode == 0
    size = url.stat().st_size
    # no file may grow past this: the kernel refuses the write in the middle of a report
    command = f"ulimit -f {size // 1024 + 4}; exec {sys.executable} -m taxbreak_nsys batch {archive} --store {url} -q"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr
    with open_store(str(url)) as store:
        for report in rows(store, models.reports):
            held = [row for row in rows(store, models.phases) if row["report_id"] == report["id"]]
            assert len(held) == len(analyze(report["path"]).entries)
    assert batch(archive, "--store", url).returncode == 0
    assert count(str(url), models.reports) == 3


def test_finds_files_folders_globs_and_a_list(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = {str(path) for path in archive.rglob("*.sqlite")}
    monkeypatch.chdir(archive)
    assert set(find(["."]).paths) == every
    assert set(find(["*/*/*.sqlite"]).paths) == every
    assert set(find(["**/*.sqlite"]).paths) == every
    assert set(find(["-"], [f"{path}\n" for path in every] + ["\n"]).paths) == every
    assert set(find([".", *every, "graph"]).paths) == every
    sizes = [os.stat(path).st_size for path in find(["."]).paths]
    assert sizes == sorted(sizes, reverse=True)
    (archive / "graph/20260101/graph-graph.nsys-rep").write_bytes(b"x")
    (archive / "graph/20260101/notes.txt").write_bytes(b"x")
    found = find(["."])
    assert set(found.paths) == every
    assert found.twins == 1
    assert len(find(["graph/20260101/graph-graph.nsys-rep"]).paths) == 1
    odd = archive / "a[1].sqlite"
    odd.write_bytes(b"x")
    assert find(["a[1].sqlite"]).paths == (str(odd),)
    with pytest.raises(TaxbreakError, match="matches no file"):
        find(["b*.sqlite"])
    (archive / "none").mkdir()
    with pytest.raises(TaxbreakError, match="holds no report"):
        find(["none"])


def test_reports_of_a_url(archive: Path, tmp_path: Path) -> None:
    url = f"file://{archive}"
    assert len(find([url]).paths) == 3
    assert len(find([f"{url}/llama/*/*.sqlite"]).paths) == 2
    done = batch(f"{url}/llama", "--store", tmp_path / "s.db", "-f", "json", "-q")
    assert done.returncode == 0, done.stderr
    assert {row["Report"].split("://")[0] for row in json.loads(done.stdout)} == {"file"}
    lost = batch(f"{url}/lost.sqlite", "--store", tmp_path / "s.db", "-q")
    assert lost.returncode == 1
    assert "cannot be read" in lost.stderr


def test_tags() -> None:
    rules = TagRules.parse(["team=a=b"], [r"(?P<model>[^/]+)/(?P<date>\d{8})", r"rank(?P<rank>\d+)?"])
    assert rules.of("/x/llama/20260101/rank3.sqlite") == {
        "team": "a=b", "model": "llama", "date": "20260101", "rank": "3",
    }  # fmt: skip
    assert rules.of("/x/rank.sqlite") == {"team": "a=b"}
    for given, patterns, said in (
        (["x"], [], "key=value"),
        (["=x"], [], "key=value"),
        ([], ["("], "not a regular"),
        ([], ["a"], "named group"),
    ):
        with pytest.raises(TaxbreakError, match=said):
            TagRules.parse(given, patterns)


def test_names_in_a_table_are_as_short_as_they_can_be() -> None:
    paths = ["/a/b/x", "/a/c/x", "/x", "b/x", "s3://q/x", "/c/y", "/a/b/x"]
    assert distinct_ends(paths) == {
        "/a/b/x": "a/b/x", "/a/c/x": "c/x", "/x": "/x", "b/x": "b/x", "s3://q/x": "q/x", "/c/y": "y",
    }  # fmt: skip
    assert distinct_ends([]) == {}


def test_wrong_calls_are_one_line(archive: Path, tmp_path: Path) -> None:
    for args, said in (
        ([archive, "--memory", "lots"], "--memory"),
        ([archive, "-f", "parquet"], "-o FILE"),
        ([archive, "--tag", "x"], "--tag"),
        ([archive, "--store", "mysql://x/y"], "SQLite or PostgreSQL"),
        ([archive, "--store", tmp_path / "no/folder.db"], "does not exist"),
        ([archive, "--store", archive], "is a folder"),
        ([archive, "--store", find_report("llama-1b")], "not a results store"),
    ):
        done = CliRunner().invoke(app, ["batch", *map(str, args)])
        assert isinstance(done.exception, TaxbreakError), (args, done.exception)
        assert said in str(done.exception)
