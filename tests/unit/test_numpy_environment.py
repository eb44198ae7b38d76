"""The variables that numpy reads at its import: set for this process, not for the programs that it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from taxbreak_nsys.arrays import numpy_environment


def test_what_was_set_is_taken_back_and_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "X86_V3")
    monkeypatch.setattr(numpy_environment, "_is_zen_4", lambda: True)
    monkeypatch.setattr(numpy_environment, "_OWN", [])  # an earlier test may have run the program in this process
    numpy_environment.set_for_numpy()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ["NPY_DISABLE_CPU_FEATURES"] == "X86_V3"
    numpy_environment.unset_for_children()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert os.environ["NPY_DISABLE_CPU_FEATURES"] == "X86_V3"


def test_numpy_takes_the_settings_of_zen_4_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_environment, "_is_zen_4", lambda: True)
    done = subprocess.run(
        [sys.executable, "-c", "import numpy; print(numpy.sort([3, 1, 2]).tolist())"],
        env=os.environ | numpy_environment.numpy_settings(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[1, 2, 3]\n"
    assert done.stderr == ""
