"""Finds the reports of a batch in files, folders, globs, URLs and a list on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.batch.fetch import PACKED, SUFFIXES
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.input_files import note_input
from taxbreak_nsys.store.records import is_url


@dataclass(frozen=True)
class ReportList:
    """Distinct absolute paths and URLs, largest file first.

    `twins` counts the `.nsys-rep` files left out because their `.sqlite` export lies beside them. `unreadable` holds
    (folder, message) of the folders that could not be listed.
    """

    paths: tuple[str, ...]
    twins: int
    unreadable: tuple[tuple[str, str], ...]


def find(names: Iterable[str], listed: Iterable[str] = ()) -> ReportList:
    """Return the reports that `names` stand for; the name `-` stands for the lines of `listed`.

    A named file is taken with any suffix; in a folder, only files with a report's suffix. Raises TaxbreakError where a
    glob or folder holds no report.
    """
    paths: dict[str, int] = {}
    twins = 0
    unreadable: list[tuple[str, str]] = []
    for name in _expanded(names, listed):
        if is_url(name):
            paths |= dict.fromkeys(_remote(name), 0)
        elif os.path.isdir(name):
            folder_paths, left_out, problems = _folder_reports(os.path.abspath(name))
            if not folder_paths and not problems:
                raise TaxbreakError(f"{name}: holds no report (no file that ends in {', '.join(SUFFIXES[:2])})")
            paths |= folder_paths
            twins += left_out
            unreadable += problems
        elif os.path.exists(name) or not glob.has_magic(name):
            paths[os.path.abspath(name)] = _size(name)
        else:
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                raise TaxbreakError(f"{name}: matches no file")
            paths |= {os.path.abspath(match): _size(match) for match in matches if not os.path.isdir(match)}
    for path in paths:
        note_input(path)
    # Largest first: a large report at the end would keep one worker busy while the others idle.
    return ReportList(tuple(sorted(paths, key=lambda path: (-paths[path], path))), twins, tuple(unreadable))


def _expanded(names: Iterable[str], listed: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in listed if line.strip())
        else:
            yield name


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _folder_reports(folder: str) -> tuple[dict[str, int], int, list[tuple[str, str]]]:
    problems: list[tuple[str, str]] = []

    def note(error: OSError) -> None:
        problems.append((str(error.filename), f"{error.filename}: the folder cannot be read ({error.strerror})"))

    sizes: dict[str, int] = {}
    twins = 0
    for place, _, files in os.walk(folder, onerror=note):
        reports = [file for file in files if file.endswith(SUFFIXES)]
        exported = {stem for stem, kind in map(_parts, reports) if kind == ".sqlite"}
        for file in reports:
            stem, kind = _parts(file)
            if kind != ".sqlite" and stem in exported:
                twins += 1
            else:
                path = os.path.join(place, file)
                sizes[path] = _size(path)
    return sizes, twins, problems


def _parts(file: str) -> tuple[str, str]:
    """Return a file name's stem and report suffix, both without the suffix of a compression."""
    path = Path(file)
    if path.suffix in PACKED:
        path = Path(path.stem)
    return path.stem, path.suffix


def _remote(url: str) -> list[str]:
    """Return the reports that a URL stands for: itself, the matches of a glob, or all reports below a folder."""
    if url.endswith(SUFFIXES) and not glob.has_magic(url):
        return [url]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise TaxbreakError(f"{url}: URLs need the extra: python -m pip install 'taxbreak-nsys[remote]'") from error
    try:
        system, path = url_to_fs(url)
        names = system.glob(path) if glob.has_magic(url) else system.find(path)
        urls = [str(system.unstrip_protocol(name)) for name in names if str(name).endswith(SUFFIXES)]
    except (OSError, ValueError, ImportError) as error:
        raise TaxbreakError(f"{url}: cannot be listed ({error})") from error
    if not urls:
        raise TaxbreakError(f"{url}: holds no report")
    return sorted(urls)
