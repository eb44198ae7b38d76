"""Where the tests find reports: the samples, and more of them where TAXBREAK_REPORTS names a folder."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from taxbreak_nsys import Result
from tests.support.browser import browser  # noqa: F401
from tests.support.reports import KNOWN, analysed_once, find_report

settings.register_profile("shared machine", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)
# `.ci/run` tries the same examples each time, so that a change is judged by itself; other runs look for new ones.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "shared machine"))


INTEGRATION = Path(__file__).parent / "integration"


def pytest_configure() -> None:
    """Let the programs under test receive Ctrl-C: they inherit it as ignored where a script runs the tests with `&`."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tier: all tests but those of `integration/` and those marked `slow`."""
    for item in items:
        if INTEGRATION not in item.path.parents and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


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
    return lambda name: analysed_once(find_report(name))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server's URL, without a database; skips where it cannot be had."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra: pip install 'taxbreak-nsys[postgresql]'")
    from tests.support import postgres

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
