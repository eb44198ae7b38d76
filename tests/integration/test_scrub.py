"""A clean copy gives the same figures and nothing else; no output of any command shows what is not measured."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.scrub import gives_away, write_clean
from taxbreak_nsys.scrub.private_texts import without_secrets
from taxbreak_nsys.scrub.scrub_texts import Texts
from tests.support.report_builder import KERNEL, build, thread_id

TOKEN = "ZQXPLANTED7f3a"
NAME_KEYS = {"phase", "name", "operator", "why", "advice", "command", "path", "fingerprint", "report", "traced"}
NAME_KEYS |= {"tool_version", "gpu", "cpu", "driver", "nsys_version"}


def numbers(value: Any) -> Any:
    """Return a result without what may be called otherwise."""
    if isinstance(value, dict):
        return {key: numbers(inner) for key, inner in value.items() if key not in NAME_KEYS}
    return [numbers(inner) for inner in value] if isinstance(value, list) else value


def figures(path: Path, **options: Any) -> Any:
    data = analyze(path, **options).to_dict()
    # the copy holds nothing of processes that call no CUDA
    data["processes"] = []
    calling = {entry["process"] for entry in data["phases"]}
    for wait in data["os_waits"]:
        wait["on_cpu"] = [row for row in wait["on_cpu"] or () if row["process"] in calling]
        # which of several it was may be told where the others are not in the copy
        del wait["likely_process"], wait["reason"]
    for rows in ("kernels", "operators"):
        # rows of one total stand in the order of their names' first use
        data[rows] = sorted(json.dumps(numbers(row), sort_keys=True) for row in data[rows])
    data["warnings"] = [warning["code"] for warning in json.loads(json.dumps(data["report"], default=vars))["warnings"]]
    return numbers(data)


@pytest.mark.parametrize("names", [False, True])
def test_the_copy_gives_the_same_integers(any_report: Path, names: bool, tmp_path: Path) -> None:
    copy = tmp_path / "clean.sqlite"
    write_clean(any_report, copy, names=names)
    assert figures(copy) == figures(any_report)
    for evidence in ("subtractive", "none"):
        assert figures(copy, evidence=evidence) == figures(any_report, evidence=evidence)


def text_columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, row[1])
        for table in tables
        for row in database.execute(f'PRAGMA table_info("{table}")')
        if "TEXT" in row[2].upper() or "BLOB" in row[2].upper()
    ]


def plant(source: Path, target: Path) -> Path:
    """Append the token to every text of a report but those that an analysis is made of.

    Those are the names that events refer to, the machine's GPU and CPU, the versions, and what was traced.
    """
    target.write_bytes(source.read_bytes())
    with sqlite3.connect(target) as database:
        present = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        columns = {
            "CUPTI_ACTIVITY_KIND_RUNTIME": ("nameId",), KERNEL: ("shortName", "demangledName"), "OSRT_API": ("nameId",),
            "NVTX_EVENTS": ("textId",), "PROFILER_OVERHEAD": ("nameId",), "CUPTI_ACTIVITY_KIND_OVERHEAD": ("nameId",),
            "SAMPLING_CALLCHAINS": ("symbol", "module"), "CUDA_CALLCHAINS": ("symbol", "module"),
        }  # fmt: skip
        named = " UNION ".join(
            f'SELECT "{c}" FROM "{t}" WHERE "{c}" IS NOT NULL' for t in columns if t in present for c in columns[t]
        )
        # the program's own threads keep their names, too
        named += " UNION SELECT nameId FROM ThreadNames WHERE (globalTid & ~0xFFFFFF) IN "
        named += "(SELECT globalTid & ~0xFFFFFF FROM CUPTI_ACTIVITY_KIND_RUNTIME)"
        for table, column in text_columns(database):
            where = "true"
            if table == "StringIds":
                where = f"id NOT IN ({named})"
            elif (table, column) in {("NVTX_EVENTS", "text"), ("TARGET_INFO_GPU", "name")}:
                continue
            elif table in ("META_DATA_EXPORT", "EXPORT_META_DATA"):
                where = "name NOT LIKE 'EXPORT_%VERSION%'" if column == "value" else "false"
            elif table == "META_DATA_CAPTURE" and column == "value":
                where = "name <> 'CAPTURE_EVENT_TYPE'"
            elif table == "TARGET_INFO_SYSTEM_ENV" and column == "value":
                where = "name NOT IN ('CpuDescription', 'NvDriverVersion')"
            elif column == "name" and table in ("META_DATA_CAPTURE", "TARGET_INFO_SYSTEM_ENV"):
                continue
            database.execute(
                f'UPDATE "{table}" SET "{column}" = coalesce("{column}", \'\') || \'{TOKEN}\' WHERE {where}'
            )
        rows = {
            "META_DATA_CAPTURE": ("PROCESS_0:ENVIRONMENT_VARIABLE", f"HF_TOKEN={TOKEN}"),
            "META_DATA_EXPORT": ("EXPORT_HOST", TOKEN),
        }
        for table, row in rows.items():
            if table in present:
                database.execute(f"INSERT INTO {table}(name, value) VALUES (?, ?)", row)
        database.execute("INSERT INTO StringIds VALUES (-77, ?)", (f"HOME=/x\0SECRET={TOKEN}",))
        database.execute("INSERT INTO StringIds VALUES (-78, ?)", (f"/home/{TOKEN}/private.py",))
        assert database.execute(f"SELECT count(*) FROM StringIds WHERE value LIKE '%{TOKEN}%'").fetchone()[0] > 2
    database.close()
    assert TOKEN.encode() in target.read_bytes()
    return target


@pytest.fixture(params=["llama-1b", "llama-1b-aten", "graph-graph", "gpt2-backtrace", "public-2gpu-training"])
def planted(request: pytest.FixtureRequest, report, tmp_path: Path) -> Path:
    return plant(report(request.param), tmp_path / "planted.sqlite")


def test_no_command_shows_what_is_not_measured(planted: Path, tmp_path: Path) -> None:
    commands = {name for name in app_commands() if name not in ("recipe", "capture")}
    out = tmp_path / "out"
    out.mkdir()
    runs = [["analyze", str(planted), "-f", kind, "-r", name] for kind in ("table", "csv", "json") for name in REPORTS]
    runs += [["analyze", str(planted), "-f", "parquet", "-o", str(out / "a.parquet")], ["scrub", str(planted)]]
    for name in ("diff", "whatif"):
        if name in commands:
            runs.append([name, *[str(planted)] * (2 if name == "diff" else 1)])
    if "html" in commands:
        runs.append(["html", str(planted), "-o", str(out / "a.html")])
    if "doctor" in commands:
        runs.append(["doctor", str(planted)])
    if "trace" in commands:
        runs.append(["trace", str(planted), "-o", str(out / "a.pftrace")])
    for arguments in runs:
        shown = CliRunner().invoke(app, arguments)
        assert TOKEN not in shown.output, arguments
        assert TOKEN not in str(shown.exception), arguments
    for file in out.iterdir():
        assert TOKEN.encode() not in file.read_bytes(), file


REPORTS = ("taxbreak_sum", "taxbreak_kern_sum", "taxbreak_op_sum", "taxbreak_api_sum", "taxbreak_trace")


def app_commands() -> set[str]:
    import typer.main

    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_nothing_planted_is_in_the_copy(planted: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clean.sqlite"
    write_clean(planted, copy)
    assert TOKEN.encode() not in copy.read_bytes()
    assert figures(copy)["phases"] == figures(planted)["phases"]


def test_with_names_nothing_of_the_names_is_left(report, tmp_path: Path) -> None:
    source = tmp_path / "named.sqlite"
    source.write_bytes(report("llama-1b").read_bytes())
    with sqlite3.connect(source) as database:
        database.execute(f"UPDATE NVTX_EVENTS SET text = '{TOKEN}_' || text WHERE eventType = 59 AND text IS NOT NULL")
        database.execute(
            f"UPDATE StringIds SET value = '{TOKEN}' || value WHERE id IN (SELECT shortName FROM {KERNEL})"
        )
        database.execute(
            f"UPDATE StringIds SET value = '{TOKEN}' || value WHERE id IN (SELECT demangledName FROM {KERNEL})"
        )
    database.close()
    copy = tmp_path / "clean.sqlite"
    write_clean(source, copy, names=True)
    assert TOKEN.encode() not in copy.read_bytes()
    assert figures(copy) == figures(source)
    labels = {entry.phase for entry in analyze(copy).entries}
    assert len(labels) == 2
    assert all(re.fullmatch(r"[a-z]+7f3[a-z]+_(?:prefill|decode)", label) for label in labels), labels


def test_a_secret_scanner_finds_nothing(report, tmp_path: Path) -> None:
    secrets = pytest.importorskip("detect_secrets")
    from detect_secrets.settings import transient_settings

    source = tmp_path / "report.sqlite"
    source.write_bytes(report("llama-1b").read_bytes())
    # put together here, so that no scanner stumbles over this file
    keys = ["gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "AK" + "IA" + "QZ7XPLW3RTM5VNK2"]
    with sqlite3.connect(source) as database:
        for number, key in enumerate(keys):
            database.execute("INSERT INTO StringIds VALUES (?, ?)", (-100 - number, f"TOKEN={key}"))
            database.execute("INSERT INTO META_DATA_CAPTURE VALUES ('PROCESS_0:ENVIRONMENT_VARIABLE', ?)", (key,))
            # one that a user put into a range's name, which is kept
            database.execute(
                "UPDATE NVTX_EVENTS SET text = ? WHERE rowid = (SELECT min(rowid) + ? FROM NVTX_EVENTS WHERE text LIKE "
                "'decode%')",
                (f"decode {key}", number),
            )
    database.close()
    copy = tmp_path / "clean.sqlite"
    write_clean(source, copy)

    def found(path: Path) -> set[str]:
        dump = tmp_path / "dump.txt"
        with sqlite3.connect(path) as opened:
            dump.write_text("\n".join(opened.iterdump()), encoding="utf-8")
        opened.close()
        names = ("GitHubTokenDetector", "AWSKeyDetector", "PrivateKeyDetector", "SlackDetector", "JwtTokenDetector")
        with transient_settings({"plugins_used": [{"name": name} for name in names]}):
            collection = secrets.SecretsCollection()
            collection.scan_file(str(dump))
        return {secret.type for _, secret in collection}

    assert found(source) == {"GitHub Token", "AWS Access Key"}
    assert found(copy) == set()


def test_what_a_report_gives_away(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite")
    assert gives_away(path) == []
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE META_DATA_CAPTURE(name TEXT, value TEXT);"
            "INSERT INTO META_DATA_CAPTURE VALUES ('PROCESS_0:ENVIRONMENT_VARIABLE', 'HF_TOKEN=hf_abcdefghijkl');"
            "INSERT INTO META_DATA_CAPTURE VALUES ('PROCESS_0:COMMAND', 'python3');"
            "INSERT INTO META_DATA_EXPORT VALUES ('EXPORT_HOST', 'node17');"
            "INSERT INTO META_DATA_EXPORT VALUES ('EXPORT_PARAM_INPUT_PATH', '/home/ann/run');"
            "INSERT INTO StringIds VALUES (5000, 'PATH=/bin' || char(0) || 'USER=ann');"
            "CREATE TABLE PROCESSES(globalPid INTEGER, pid INTEGER, name TEXT);"
            "INSERT INTO PROCESSES VALUES (5 << 24, 5, 'sshd');"
        )
        database.execute("INSERT INTO PROCESSES VALUES (?, 1, 'python3')", (thread_id(0) & ~0xFFFFFF,))
    database.close()
    assert {(f.what, f.place, f.rows) for f in gives_away(path)} == {
        ("environment variables", "META_DATA_CAPTURE", 1),
        ("environment variables", "StringIds", 1),
        ("command lines", "META_DATA_CAPTURE", 1),
        ("host and user", "META_DATA_EXPORT", 1),
        ("paths", "META_DATA_EXPORT", 1),
        ("other processes", "PROCESSES", 1),
        ("texts that look like secrets", "META_DATA_CAPTURE", 1),
    }
    shown = CliRunner().invoke(app, ["scrub", str(path)])
    assert "host and user: 1 rows of META_DATA_EXPORT" in shown.output
    assert "node17" not in shown.output
    doctor = CliRunner().invoke(app, ["doctor", str(path)]).output
    assert "the report gives away environment variables (2)" in " ".join(doctor.split())
    assert "node17" not in doctor
    write_clean(path, tmp_path / "clean.sqlite")
    assert gives_away(tmp_path / "clean.sqlite") == []


def test_scrub_from_the_command_line(tmp_path: Path) -> None:
    path, copy = build(tmp_path / "r.sqlite"), tmp_path / "clean.sqlite"
    before = path.read_bytes()
    run = [str(Path(sys.executable).with_name("taxbreak-nsys"))]
    done = subprocess.run([*run, "scrub", path, "-o", copy], capture_output=True, text=True, check=True)
    assert f"wrote {copy}" in done.stderr
    assert done.stdout == ""
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean.sqlite", "r.sqlite"]
    again = subprocess.run([*run, "scrub", path, "-o", copy], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "--force-overwrite" in again.stderr
    subprocess.run([*run, "scrub", path, "-o", copy, "--force-overwrite", "-q"], check=True)
    itself = subprocess.run(
        [*run, "scrub", path, "-o", path, "--force-overwrite"], capture_output=True, text=True, check=False
    )
    assert itself.returncode == 2
    assert "this command reads it" in itself.stderr


def test_scrub_refuses_what_the_analysis_refuses(tmp_path: Path) -> None:
    path = build(tmp_path / "r.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW v AS SELECT 1")
    database.close()
    with pytest.raises(TaxbreakError, match="holds a view"):
        write_clean(path, tmp_path / "clean.sqlite")
    assert not os.path.exists(tmp_path / "clean.sqlite")


def test_texts_keep_what_they_mean() -> None:
    for names in (False, True):
        texts = Texts(names=names)
        # numbers stay behind their names, equal names stay equal, different ones different
        one, two, other = (texts.new("range", text) for text in ("/home/ann/run 1", "/home/ann/run 2", "/srv/run 1"))
        assert (one[:-1], one[-1], two[-1]) == (two[:-1], "1", "2")
        assert other != one
        assert "ann" not in one + two
        assert texts.new("range", "aten::mm, seq = 12, op_id = 3, sizes = [[2, 3]]").endswith(", seq = 12, op_id = 3")
        assert texts.new("api", "cudaLaunchKernel_v7000") == "cudaLaunchKernel_v7000"
        module = texts.new("module", "/home/ann/.venv/lib/python3.12/site-packages/torch/lib/libtorch_cpu.so")
        assert module == "/site-packages/torch/libtorch_cpu.so"


def test_what_looks_like_a_secret() -> None:
    assert without_secrets("step /home/ann/data/x.bin") == "step x.bin"
    assert "ann@" not in without_secrets("for ann@example.com")
    assert "hunter2" not in without_secrets("db password=hunter2 now")
    for plain in (
        "decode_12",
        "aten::mm, seq = 12",
        "void cutlass::Kernel2<cutlass_80_tensorop>(Params)",
        "a/b",
        "1/2",
    ):
        assert without_secrets(plain) == plain
