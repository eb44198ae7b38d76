"""The marker that programs use: times without a profiler, ranges with one, and nothing heavy either way."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from taxbreak_nsys import phase

WORK = """
    import threading, time
    from taxbreak_nsys import phase

    waits = []

    @phase("decode", sync=lambda: waits.append(1))
    def decode(step):
        time.sleep(0.02)
        return step

    with phase("prefill"):
        time.sleep(0.05)
    threads = [threading.Thread(target=decode, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert decode(7) == 7
    with phase("decode_3"):
        pass
    try:
        with phase("decode"):
            raise KeyError
    except KeyError:
        pass
    assert len(waits) == 10
"""


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, cwd=folder, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_records_the_wall_time_of_each_instance(tmp_path: Path) -> None:
    done = run(WORK, tmp_path, TAXBREAK_REFERENCE="times.json")
    assert (done.returncode, done.stderr) == (0, "")
    times = json.loads((tmp_path / "times.json").read_text())
    assert set(times) == {"prefill", "decode"}
    assert times["prefill"]["instances"] == 1
    assert 50 <= times["prefill"]["median_ms"] < 1000
    # five calls and decode_3; the one that raised is not a time
    assert times["decode"]["instances"] == 6
    assert times["decode"]["min_ms"] < 20 <= times["decode"]["median_ms"] <= times["decode"]["max_ms"]
    assert list(tmp_path.iterdir()) == [tmp_path / "times.json"]


def test_a_forked_child_writes_its_own_times(tmp_path: Path) -> None:
    code = """
        import os, sys
        from taxbreak_nsys import phase
        with phase("parent"):
            pass
        if os.fork() == 0:
            with phase("child"):
                pass
            sys.exit()
        os.wait()
    """
    assert run(code, tmp_path, TAXBREAK_REFERENCE="times-%p.json").returncode == 0
    assert sorted(list(json.loads(p.read_text())) for p in tmp_path.iterdir()) == [["child"], ["parent"]]


def test_without_profiler_and_reference_it_does_nothing(tmp_path: Path) -> None:
    done = run(WORK, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_reference_that_cannot_be_written_does_not_end_the_program(tmp_path: Path) -> None:
    done = run(WORK, tmp_path, TAXBREAK_REFERENCE="no/such/folder/times.json")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr


def test_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from taxbreak_nsys import phase; print(sorted({'numpy', 'pyarrow', 'typer'} & set(sys.modules)))"
    )
    assert run(code, tmp_path).stdout == "[]\n"


def test_refuses_what_it_cannot_time() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError, match="async"):
        phase("decode")(later)
    with pytest.raises(ValueError, match="label"):
        phase(" ")


def test_marks_a_range_under_nsys(tmp_path: Path) -> None:
    pytest.importorskip("nvtx", reason="the package nvtx is not installed")
    nsys = shutil.which("nsys")
    if nsys is None:
        pytest.skip("nsys is not on PATH")
    (tmp_path / "work.py").write_text(textwrap.dedent(WORK))
    command = [nsys, "profile", "-t", "nvtx", "-s", "none", "--cpuctxsw=none", "--export=sqlite", "-o", "report"]
    done = subprocess.run(
        [*command, sys.executable, "work.py"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(tmp_path / "report.sqlite") as database:
        texts = database.execute(
            "SELECT coalesce(s.value, e.text), count(*) FROM NVTX_EVENTS e LEFT JOIN StringIds s ON s.id = e.textId "
            "WHERE e.eventType = 59 GROUP BY 1"
        ).fetchall()
    assert dict(texts) == {"prefill": 1, "decode": 6, "decode_3": 1}
