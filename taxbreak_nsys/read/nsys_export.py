"""Finds or makes the export of a `.nsys-rep`: the `.sqlite` beside it, or a cached export by the nsys on PATH."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from taxbreak_nsys.arrays.background import BackgroundTask
from taxbreak_nsys.errors import NoSuchFileError, TaxbreakError
from taxbreak_nsys.model.current_work import working

SUFFIXES = (".nsys-rep", ".qdrep")
_FIRST_WHOLE = 2024
CACHE_VARIABLE = "TAXBREAK_CACHE_DIR"
"""Environment variable that overrides the platform's cache folder."""


def cache_folder() -> Path:
    """Return the cache folder for exports."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("taxbreak-nsys", appauthor=False)


def is_arrow_folder(path: Path) -> bool:
    """Return whether a path is a folder that nsys exported as arrowdir or parquetdir."""
    # For an impossible file name os.path.isdir returns False where Path.is_dir raises.
    return os.path.isdir(path) and any((path / f"StringIds{suffix}").is_file() for suffix in (".arrow", ".parquet"))


def as_export(path: Path, *, sqlite: bool = False) -> Path:
    """Return `path`, or for a `.nsys-rep` the path of its export: beside it, in the cache, or newly made.

    A `.sqlite` beside the report is used if it is not older, as in nsys's own tools. The cache is keyed by SHA-256. A
    new export is a folder of Arrow files, which takes about half as long as a `.sqlite`, if this nsys exports all
    tables that way; `sqlite` asks for a `.sqlite`. Raises TaxbreakError without nsys or where the export fails.
    """
    if path.suffix not in SUFFIXES:
        return path
    if not path.is_file():
        raise NoSuchFileError(f"{path}: no such file")
    beside = path.with_suffix(".sqlite")
    if beside.is_file() and beside.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return beside
    from taxbreak_nsys.read.file_hash import sha256

    with working(f"hashing {path.name}"):
        key = sha256(path)
    folder, target = cache_folder() / f"{key}.arrowdir", cache_folder() / f"{key}.sqlite"
    if target.exists():
        return target
    if folder.exists() and not sqlite:
        return folder
    nsys = shutil.which("nsys")
    if nsys is None:
        raise TaxbreakError(
            f"{path}: reading a {path.suffix} needs nsys on PATH, and there is none; run "
            f"'nsys export -t sqlite {path.name}' where nsys is installed and give the .sqlite"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with working(f"exporting {path.name}"):
            if not sqlite and _writes_whole_folders(nsys):
                BackgroundTask(_load_arrow_reader)
                with suppress(TaxbreakError):
                    export_to(nsys, path, folder)
                    return folder
            export_to(nsys, path, target)
    except OSError as error:
        raise TaxbreakError(
            f"{target.parent}: cannot hold the export ({error.strerror}); set {CACHE_VARIABLE} to a folder with room"
        ) from error
    return target


def _writes_whole_folders(nsys: str) -> bool:
    """Return whether an nsys exports every table to Arrow; versions before 2024 omit the capture settings."""
    output = subprocess.run([nsys, "--version"], capture_output=True, text=True, errors="replace", check=False).stdout
    version = re.search(r"version (\d{4})\.", output)
    return version is not None and int(version[1]) >= _FIRST_WHOLE


def _load_arrow_reader() -> None:
    """Import what reads an Arrow folder; with pandas, which Arrow imports where it is installed, this takes 0.2 s."""
    importlib.import_module("taxbreak_nsys.read.arrow_database")
    importlib.import_module("taxbreak_nsys.read.arrow_queries")


def export_to(nsys: str, path: Path, target: Path) -> None:
    """Export a `.nsys-rep` to `target` (`.sqlite` or `.arrowdir`) under a temporary name, renamed when complete.

    Raises TaxbreakError where nsys fails, OSError where the folder of `target` is not writable.
    """
    kind = target.suffix.removeprefix(".")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        unfinished = Path(work) / f"report{target.suffix}"
        command = [nsys, "export", f"--type={kind}", "--force-overwrite=true", f"--output={unfinished}"]
        command.append(str(path.resolve()))
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        written = is_arrow_folder(unfinished) if kind == "arrowdir" else unfinished.is_file()
        if done.returncode or not written:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise TaxbreakError(f"{path}: nsys export failed ({lines[-1] if lines else 'no message'})")
        try:
            unfinished.replace(target)
        except OSError:
            if not is_arrow_folder(target):  # else another process has exported the same report meanwhile
                raise
