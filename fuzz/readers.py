"""Coverage-guided fuzzing of the readers with atheris: `python fuzz/readers.py -runs=20000 FOLDER`.

libFuzzer changes bytes of a sound report and keeps inputs that reach new code in `taxbreak_nsys.read`. Needs atheris
(`pip install atheris`), which is not in the `dev` extra because it lacks wheels for some Python versions.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["taxbreak_nsys"]):
    from taxbreak_nsys.errors import TaxbreakError
    from taxbreak_nsys.read.database import open_report
    from taxbreak_nsys.read.metadata import read_facts
    from taxbreak_nsys.read.report_reader import api_threads, read_trace

from fuzz.oracle import wrong_message  # noqa: E402
from fuzz.seeds import BUILT, seed  # noqa: E402

_MAGIC = b"SQLite format 3\x00"
_folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
_path = Path(_folder.name) / "report.sqlite"


def read_mutant(data: bytes) -> None:
    """Read one file; any result but columns or a valid refusal raises and so is a finding."""
    # Without the SQLite signature the file would be refused before any reader runs.
    _path.write_bytes(_MAGIC + data[len(_MAGIC) :])
    try:
        with open_report(_path) as database:
            read_facts(database, _path)
            read_trace(database, api_threads(database))
    except TaxbreakError as error:
        problem = wrong_message(str(error))
        if problem:
            raise RuntimeError(problem) from error


def main() -> None:
    """Write the seeds into the corpus folder, if the command line names one, and start fuzzing."""
    for folder in [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")][:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for name in BUILT:
            (folder / name).write_bytes(seed(name))
    atheris.Setup(sys.argv, read_mutant)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
