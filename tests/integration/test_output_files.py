"""No writer replaces an input, a device or a pipe, and none leaves half of a file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from benchmarks.inflate import inflate
from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.output.output_files import check_target, put_text, write_whole
from tests.support.program import COMMAND, one_line, run_program
from tests.support.reports import find_report

WRITERS: dict[str, tuple[str, ...]] = {
    "analyze json": ("analyze", "{r}", "-f", "json", "-o", "{o}"),
    "analyze csv": ("analyze", "{r}", "-f", "csv", "-o", "{o}"),
    "analyze parquet": ("analyze", "{r}", "-f", "parquet", "-o", "{o}"),
    "html": ("html", "{r}", "-o", "{o}"),
    "diff": ("diff", "{r}", "{other}", "-f", "json", "-o", "{o}"),
    "diff, the second": ("diff", "{other}", "{r}", "-f", "csv", "-o", "{o}"),
    "gate": ("gate", "{r}", "--rule", "decode.hdbi >= 0", "-f", "json", "-o", "{o}"),
    "gate junit": ("gate", "{r}", "--rule", "decode.hdbi >= 0", "--junit", "{o}"),
    "whatif": ("whatif", "{r}", "-f", "json", "-o", "{o}"),
    "trace": ("trace", "{r}", "-o", "{o}"),
    "plot": ("plot", "{r}", "-o", "{o}"),
    "library-map": ("library-map", "{r}", "-o", "{o}"),
    "scrub": ("scrub", "{r}", "-o", "{o}"),
    "scrub names": ("scrub", "{r}", "--names", "-o", "{o}"),
    "batch": ("batch", "{r}", "--store", "{store}", "-f", "csv", "-o", "{o}"),
    "null report": ("analyze", "{r}", "--null-report", "{null}", "-f", "json", "-o", "{o}"),
}


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., list[str]]:
    shutil.copy(find_report("llama-1b"), tmp_path / "r.sqlite")
    shutil.copy(find_report("llama-1b"), tmp_path / "other.sqlite")
    shutil.copy(find_report("null-kernel"), tmp_path / "null.sqlite")
    (tmp_path / "r.sqlite").chmod(0o644)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.png").symlink_to("r.sqlite")
    os.link(tmp_path / "r.sqlite", tmp_path / "hard.png")

    def arguments(writer: str, output: str) -> list[str]:
        names = {name: tmp_path / f"{name}.sqlite" for name in ("r", "other", "null")}
        names["store"] = tmp_path / "s.db"
        return [part.format(**{**names, "o": output}) for part in (*WRITERS[writer], "--force-overwrite")]

    return arguments


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "null report"])
@pytest.mark.parametrize("spelling", ["link.png", "hard.png", "folder/../r.sqlite"])
def test_no_writer_overwrites_its_input(
    writer: str, spelling: str, place: Callable[..., list[str]], tmp_path: Path
) -> None:
    if writer == "plot" and not spelling.endswith(".png"):
        pytest.skip("refuses a name that is no picture's")
    before = (tmp_path / "r.sqlite").read_bytes()
    output = str(tmp_path / spelling)
    done = run_program(*place(writer, output))
    assert done.returncode == 2, done
    assert "the same file as" in done.stderr or "this command reads it" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "r.sqlite").read_bytes() == before
    assert (tmp_path / "link.png").is_symlink()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("spelling", ["missing/../r.sqlite", "lost.png"])
@pytest.mark.parametrize("force", [(), ("--force-overwrite",)])
def test_a_path_through_no_folder_is_refused(
    spelling: str, force: tuple[str, ...], place: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "lost.png").symlink_to("missing/../r.sqlite")
    before = (tmp_path / "r.sqlite").read_bytes()
    for writer in ("analyze json", "html", "trace", "scrub"):
        done = run_program(*place(writer, str(tmp_path / spelling))[:-1], *force)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert "does not exist" in done.stderr
        assert (tmp_path / "r.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(place: Callable[..., list[str]], tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    target = tmp_path / "out.json"
    with (
        patch.object(Path, "unlink", refuse),
        patch.object(os, "open", refuse),
        pytest.raises(TaxbreakError, match=rf"^{target}: cannot be written \(Read-only file system\)$"),
    ):
        put_text("{}", target, force=False)


def test_every_file_that_is_read_is_an_input(place: Callable[..., list[str]], tmp_path: Path) -> None:
    report = str(tmp_path / "r.sqlite")
    reference = tmp_path / "times.json"
    reference.write_text('{"decode": {"median_ms": 16.0}}')
    classes = tmp_path / "classes.toml"
    classes.write_text('[[class]]\nname = "mine"\nkernels = ["k*"]\n')
    store = str(tmp_path / "s.db")
    run_program("batch", report, "--store", store, check=True)
    force = "--force-overwrite"
    for arguments, target in (
        (place("null report", str(tmp_path / "null.sqlite")), tmp_path / "null.sqlite"),
        (
            ["analyze", report, "--reference", str(reference), "-f", "json", "-o", str(reference), "--force-overwrite"],
            reference,
        ),
        (
            ["analyze", report, "--kernel-classes", str(classes), "-f", "json", "-o", str(classes), force],
            classes,
        ),
        (
            ["store", "query", "SELECT 1", "--store", store, "-f", "csv", "-o", store, force],
            tmp_path / "s.db",
        ),
        (["batch", report, "--store", store, "-f", "csv", "-o", store, force], tmp_path / "s.db"),
    ):
        before = target.read_bytes()
        done = run_program(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert "would be overwritten" in done.stderr
        assert target.read_bytes() == before


def test_a_device_is_written_to_and_stays(place: Callable[..., list[str]], tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs root")
    for writer in ("analyze json", "analyze parquet", "scrub", "trace"):
        assert run_program(*place(writer, str(device))).returncode == 0
        assert stat.S_ISCHR(device.stat().st_mode)
    full = tmp_path / "full"
    os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    assert "No space left" in one_line(run_program(*place("scrub", str(full))), 74)
    block = tmp_path / "block"
    os.mknod(block, stat.S_IFBLK | 0o666, os.makedev(7, 250))
    assert "block device" in one_line(run_program(*place("analyze json", str(block))))
    assert stat.S_ISBLK(block.stat().st_mode)


def test_a_pipe_is_written_to_and_stays(place: Callable[..., list[str]], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no program reads" in one_line(run_program(*place("analyze json", str(pipe))), 74)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.set_blocking(reader, True)
        writer = subprocess.Popen([*COMMAND, *place("analyze json", str(pipe))], stderr=subprocess.DEVNULL)
        read = b""
        while writer.poll() is None or not read.endswith(b"}\n"):
            read += os.read(reader, 1 << 16)
        assert json.loads(read)["reports"][0]["report"]["path"] == str(tmp_path / "r.sqlite")
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_by_its_names(name: str, place: Callable[..., list[str]], tmp_path: Path) -> None:
    plain = run_program("analyze", tmp_path / "r.sqlite", "-f", "json").stdout
    with (tmp_path / "shown").open("w+") as shown:
        shown.write("before\n")
        shown.flush()
        done = subprocess.run(
            [*COMMAND, *place("analyze json", name)], stdout=shown, stderr=subprocess.PIPE, check=True
        )
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "shown").read_text() == "before\n" + plain
    copy = subprocess.run([*COMMAND, *place("scrub", name)], capture_output=True, check=True).stdout
    assert copy.startswith(b"SQLite format 3\0")
    assert not Path("-").exists()


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "t", tmp_path / "l", tmp_path / "d"
    target.write_text("old")
    link.symlink_to("t")
    dangling.symlink_to("folder/missing")
    with pytest.raises(TaxbreakError, match="exists"):
        check_target(link, False)
    write_whole(link, lambda path: path.write_text("new"), force=True)
    assert link.is_symlink()
    assert target.read_text() == "new"
    with pytest.raises(TaxbreakError, match="does not exist"):
        check_target(dangling, True)


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "t"

    def write(path: Path) -> None:
        path.write_text("ours")
        target.write_text("another program's")

    with pytest.raises(TaxbreakError, match="exists"):
        write_whole(target, write, force=False)
    assert target.read_text() == "another program's"
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    report, place = tmp_path / "large.sqlite", tmp_path / "place"
    inflate(find_report("llama-1b-aten"), report, 30)  # its trace takes more than a second to write
    place.mkdir()
    process = subprocess.Popen(
        [*COMMAND, "trace", report, "-o", place / "t.pftrace"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(place.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert process.poll() is None, "ended before it wrote"
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert list(place.iterdir()) == []
