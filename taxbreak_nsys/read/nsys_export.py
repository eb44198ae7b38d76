"""Turns a `.nsys-rep` into a `.sqlite`: the one beside it, or an export by the nsys on PATH, in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from taxbreak_nsys.errors import NoSuchFileError, TaxbreakError
from taxbreak_nsys.model.current_work import working

SUFFIXES = (".nsys-rep", ".qdrep")
CACHE_VARIABLE = "TAXBREAK_CACHE_DIR"
"""Names a folder to use in place of the platform's cache folder."""


def cache_folder() -> Path:
    """Return the folder that exports are kept in."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("taxbreak-nsys", appauthor=False)


def as_sqlite(path: Path) -> Path:
    """Return `path`, or for a `.nsys-rep` the path of its export: beside it, in the cache, or made now.

    An export beside the report counts if it is not older, as in nsys's own tools. The cache is keyed by content.
    Raises TaxbreakError where there is no nsys or the export fails.
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
        target = cache_folder() / f"{sha256(path)}.sqlite"
    if target.exists():
        return target
    nsys = shutil.which("nsys")
    if nsys is None:
        raise TaxbreakError(
            f"{path}: reading a {path.suffix} needs nsys on PATH, and there is none; run "
            f"'nsys export -t sqlite {path.name}' where nsys is installed and give the .sqlite"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with working(f"exporting {path.name}"):
            export_to(nsys, path, target)
    except OSError as error:
        raise TaxbreakError(
            f"{target.parent}: cannot hold the export ({error.strerror}); set {CACHE_VARIABLE} to a folder with room"
        ) from error
    return target


def export_to(nsys: str, path: Path, target: Path) -> None:
    """Export a `.nsys-rep` to `target`, whole or not at all; raises TaxbreakError where nsys cannot.

    OSError where the folder of `target` cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        unfinished = Path(work) / "report.sqlite"
        command = [nsys, "export", "--type=sqlite", "--force-overwrite=true", f"--output={unfinished}"]
        command.append(str(path.resolve()))
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not unfinished.exists():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise TaxbreakError(f"{path}: nsys export failed ({said[-1] if said else 'no message'})")
        unfinished.replace(target)
