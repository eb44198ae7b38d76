"""The cheap fingerprint of a file, and its SHA-256 where it is asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from taxbreak_nsys import analyze
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.file_hash import fingerprint, sha256
from tests.support.reports import find_report


def test_fingerprint_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096  # 1 MiB
    first, copy, longer, changed = (tmp_path / name for name in ("first", "copy", "longer", "changed"))
    first.write_bytes(data)
    copy.write_bytes(data)
    longer.write_bytes(data + b"\0")
    changed.write_bytes(data[:-1] + b"\0")
    assert fingerprint(first) == fingerprint(copy)
    assert len({fingerprint(first), fingerprint(longer), fingerprint(changed)}) == 3


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097])
def test_fingerprint_of_a_file_of_less_than_two_pages_covers_every_byte(tmp_path: Path, size: int) -> None:
    path, seen = tmp_path / "small", set()
    for place in range(0, size, 97):
        path.write_bytes(b"\0" * place + b"\1" + b"\0" * (size - place - 1))
        seen.add(fingerprint(path))
    assert len(seen) == len(range(0, size, 97))


def test_fingerprint_of_a_folder_covers_names_and_contents(tmp_path: Path) -> None:
    prints = set()
    for name, data in (("a", b"1"), ("b", b"1"), ("a", b"2")):
        folder = tmp_path / f"{name}{data.decode()}"
        folder.mkdir()
        (folder / name).write_bytes(data)
        prints.add(fingerprint(folder))
    assert len(prints) == 3


def test_fingerprint_of_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TaxbreakError, match="cannot be read"):
        fingerprint(tmp_path / "none")


def test_sha256_is_there_only_where_it_is_asked_for() -> None:
    path = find_report("null-kernel")
    plain, hashed = analyze(path).report, analyze(path, sha256=True).report
    assert plain.sha256 is None
    assert hashed.sha256 == sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plain.fingerprint == hashed.fingerprint == fingerprint(path)
