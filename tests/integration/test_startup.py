"""What a run must not load: a module that takes longer to import than a small report takes to analyse."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from taxbreak_nsys.cli.app import main
sys.argv = ["taxbreak-nsys", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def loaded_by(*words: object) -> set[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_main_job_needs_no_pandas(report) -> None:
    assert "pyarrow" in loaded_by(report("llama-1b"))
    assert "pandas" not in loaded_by(report("llama-1b"))


def test_help_loads_neither_numpy_nor_the_database() -> None:
    assert not {"numpy", "pyarrow", "sqlalchemy", "pandas"} & loaded_by("--help")
