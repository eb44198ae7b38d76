"""A real nsys for the tests, and reports that its recipes take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taxbreak_nsys.nsys.nsys_program import Nsys


def need_nsys() -> Nsys:
    """Return the nsys on PATH, or skip the test."""
    nsys = Nsys.find()
    if nsys is None:
        pytest.skip("nsys is not on PATH")
    return nsys


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which nsys runs recipes with the Python of the tests."""
    beside = str(Path(sys.executable).parent)
    return os.environ | {"PATH": beside + os.pathsep + os.environ["PATH"]} | more


def capture_without_gpu(folder: Path) -> Path:
    """Capture a small report of this machine's CPU alone and return its path."""
    report = folder / "seed.nsys-rep"
    need_nsys()
    command = ["nsys", "profile", "-t", "osrt,nvtx", "-s", "none", "--cpuctxsw=none", "-o", str(report)]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if not report.exists():
        pytest.skip(f"nsys cannot capture here: {(done.stderr or done.stdout).strip()[-200:]}")
    return report


def lay_out(seed: Path, exports: dict[str, Path], folder: Path) -> Path:
    """Put a `.nsys-rep` for each name into a folder, with an export beside it as its newer `.sqlite`."""
    folder.mkdir(parents=True)
    for name, export in exports.items():
        shutil.copy(seed, folder / f"{name}.nsys-rep")
        shutil.copy(export, folder / f"{name}.sqlite")
    return folder
