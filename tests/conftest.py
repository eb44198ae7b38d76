"""Where the tests find reports: the samples, and more of them where TAXBREAK_REPORTS names a folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from tests.browser import browser  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_reports"
MORE = Path(os.environ["TAXBREAK_REPORTS"]) if os.environ.get("TAXBREAK_REPORTS") else None

KNOWN = (
    "gpt2-backtrace",
    "gpt2-nophase",
    "graph-graph",
    "graph-node",
    "inject",
    "llama-1b",
    "llama-1b-aten",
    "llama-1b-bare",
    "llama-1b-sampled",
    "llama-3b-batch16",
    "multi",
    "null-kernel",
    "olmoe",
    "public-2gpu-training",
)


def find_report(name: str) -> Path:
    """Return the path of a report by name, or skip the test and say why."""
    for folder in (SAMPLES, MORE):
        if folder and (folder / f"{name}.sqlite").is_file():
            return folder / f"{name}.sqlite"
    pytest.skip(f"{name}.sqlite is not among the sample reports; name a folder that has it in TAXBREAK_REPORTS")


@cache
def _analysed(path: Path) -> Result:
    return analyze(path)


@pytest.fixture(params=KNOWN)
def any_report(request: pytest.FixtureRequest) -> Path:
    """Each known report in turn."""
    return find_report(request.param)


@pytest.fixture
def report() -> Callable[[str], Path]:
    """A report's path by name."""
    return find_report


@pytest.fixture
def analysed() -> Callable[[str], Result]:
    """The result of a report by name, analysed once a session with default options."""
    return lambda name: _analysed(find_report(name))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server's URL, without a database; skips where it cannot be had."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra: pip install 'taxbreak-nsys[postgresql]'")
    import postgres

    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("no PostgreSQL here; install Debian's package postgresql")
    with postgres.server(binaries) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for a results store, in each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    import psycopg

    server = request.getfixturevalue("postgres_url")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return f"{server}/{name}"
