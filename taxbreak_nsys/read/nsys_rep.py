"""Turns a `.nsys-rep` into a `.sqlite`, through the nsys on PATH, in a cache of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError

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
    """Return `path`, or for a `.nsys-rep` the path of its export in the cache, made now if it is not there.

    The cache is keyed by content. Raises TaxbreakError where there is no nsys or the export fails.
    """
    if path.suffix not in SUFFIXES:
        return path
    if not path.is_file():
        raise TaxbreakError(f"{path}: no such file")
    from taxbreak_nsys.read.facts import sha256

    target = cache_folder() / f"{sha256(path)}.sqlite"
    if target.exists():
        return target
    nsys = shutil.which("nsys")
    if nsys is None:
        raise TaxbreakError(
            f"{path}: reading a {path.suffix} needs nsys on PATH, and there is none; run "
            f"'nsys export -t sqlite {path.name}' where nsys is installed and give the .sqlite"
        )
    _export(nsys, path, target)
    return target


def _export(nsys: str, path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            unfinished = Path(work) / "report.sqlite"
            command = [
                nsys,
                "export",
                "--type=sqlite",
                "--force-overwrite=true",
                f"--output={unfinished}",
                str(path.resolve()),
            ]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode or not unfinished.exists():
                said = (done.stderr.strip() or done.stdout.strip()).splitlines()
                raise TaxbreakError(f"{path}: nsys export failed ({said[-1] if said else 'no message'})")
            unfinished.replace(target)
    except OSError as error:
        raise TaxbreakError(
            f"{target.parent}: cannot hold the export ({error.strerror}); set {CACHE_VARIABLE} to a folder with room"
        ) from error
