"""The results store: its schema, its versions, and what can be asked of it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select, text, update

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.batch.job import options_text
from taxbreak_nsys.phases import PhaseRule
from taxbreak_nsys.pipeline.analysis import Options
from taxbreak_nsys.store import models
from taxbreak_nsys.store.records import Analysed, Failed
from taxbreak_nsys.store.schema_versions import HEAD, version_table
from taxbreak_nsys.store.store_opening import _engine, _url, open_store
from taxbreak_nsys.store.writer import write_analysed, write_failed
from tests.support.program import one_line, run_program
from tests.support.reports import find_report


def program(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taxbreak_nsys", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def put(url: str, name: str, path: str | None = None, **tags: str) -> dict[str, Any]:
    """Store a report as a batch would, and return its result."""
    source = find_report(name)
    result = analyze(source, sha256=True).to_dict()
    with open_store(url, write=True) as store:
        done = Analysed(path or str(source), tags, result["report"]["sha256"], source.stat().st_size, result, 1)
        write_analysed(store, done, options_text(Options()))
    return result


FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def as_of_release(store_url: str) -> None:
    """Put a store in place that release 0.1.0 wrote: two reports and a failure."""
    if "://" not in store_url:
        shutil.copy(FIXTURES / "store-0.1.0.db", store_url)
        return
    import psycopg

    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute((FIXTURES / "store-0.1.0.postgresql.sql").read_text())  # type: ignore[arg-type]


_KINDS = {"BIGINT": "INTEGER", "DOUBLE PRECISION": "DOUBLE", "DOUBLE_PRECISION": "DOUBLE", "REAL": "DOUBLE"}
"""SQLite spells a type as it was given; these pairs are the same to it."""


def tables_of(store_url: str) -> dict[str, list[tuple[str, str, bool]]]:
    """Return each table's columns with type and whether null is allowed, as the database itself says."""
    engine = create_engine(_url(store_url))
    with engine.connect() as connection:
        found = inspect(connection)
        tables = {
            name: sorted((c["name"], str(c["type"]), bool(c["nullable"])) for c in found.get_columns(name))
            for name in found.get_table_names()
        }
    engine.dispose()
    return tables


def test_store_of_the_last_release_is_brought_up(store_url: str, tmp_path: Path) -> None:
    as_of_release(store_url)
    before = {name: [column for column, _, _ in columns] for name, columns in tables_of(store_url).items()}
    for arguments in (("query", "SELECT 1"), ("export", "--parquet", tmp_path / "p")):
        said = one_line(run_program("store", *arguments, "--store", store_url))
        assert "has the older store schema 0001" in said
    upgraded = run_program("store", "upgrade", "--store", store_url)
    assert upgraded.returncode == 0, upgraded.stderr
    engine = create_engine(_url(store_url))
    with engine.connect() as connection:
        counts = {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in before
        }  # fmt: skip
        rows = connection.execute(text("SELECT phase, wall_ns, kernels, comm_ns FROM phases ORDER BY wall_ns")).all()
    engine.dispose()
    assert counts == {
        "reports": 2, "phases": 3, "states": 30, "kernels": 61, "failures": 1, "tags": 4, "warnings": 3,
        "taxbreak_store_version": 1,
    }  # fmt: skip
    expected = sorted(
        (entry.phase, entry.wall_ns, entry.kernels)
        for name in ("null-kernel", "llama-1b")
        for entry in analyze(find_report(name)).entries
    )
    assert sorted(row[:3] for row in rows) == expected
    assert all(row[3] is None for row in rows)
    with open_store(store_url, write=True):
        pass  # once more changes nothing
    after = tables_of(store_url)
    assert all(set(before[name]) <= {column for column, _, _ in after[name]} for name in before)


def test_upgraded_store_is_like_a_new_one(store_url: str) -> None:
    as_of_release(store_url)
    done = run_program("batch", find_report("llama-1b"), find_report("null-kernel"), "--store", store_url)
    assert done.returncode == 0, done.stderr
    upgraded = tables_of(store_url)
    engine = create_engine(_url(store_url))
    with engine.begin() as connection:
        for table in (*reversed(models.metadata.sorted_tables), version_table):
            table.drop(connection)
    engine.dispose()
    with open_store(store_url, write=True):
        pass

    def plain(tables: dict[str, list[tuple[str, str, bool]]]) -> Any:
        return {
            name: [(column, _KINDS.get(kind, kind), null) for column, kind, null in columns]
            for name, columns in tables.items()
        }

    assert plain(upgraded) == plain(tables_of(store_url))
    with open_store(store_url) as store, store.begin() as connection:
        assert connection.execute(select(version_table.c.version_num)).scalars().all() == [HEAD]


def test_two_programs_that_upgrade_at_once_agree(store_url: str) -> None:
    as_of_release(store_url)
    command = [sys.executable, "-m", "taxbreak_nsys", "store", "upgrade", "--store", store_url]
    programs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate(timeout=120)[1], p.returncode) for p in programs] == [("", 0)] * 4
    with open_store(store_url) as store, store.begin() as connection:
        assert connection.execute(select(version_table.c.version_num)).scalars().all() == [HEAD]


def test_newer_store_is_refused_and_unchanged(store_url: str) -> None:
    put(store_url, "null-kernel")
    version = version_table
    with open_store(store_url, write=True) as store, store.begin() as connection:
        connection.execute(update(version).values(version_num="9999"))
    file = Path(store_url)
    before = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
    for args in (
        ("batch", find_report("llama-1b"), "--store", store_url),
        ("store", "query", "SELECT 1", "--store", store_url),
    ):
        done = program(*args)
        assert done.returncode == 2
        assert "newer taxbreak-nsys" in done.stderr
        assert done.stderr.count("\n") == 1
    if before:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    # the rows are as they were
    with contextlib.suppress(TaxbreakError):
        open_store(store_url)
    engine = _engine(_url(store_url), write=True)
    with engine.begin() as connection:
        connection.execute(update(version).values(version_num=HEAD))
        assert len(connection.execute(models.reports.select()).all()) == 1
    engine.dispose()


def test_query_in_every_format(store_url: str, tmp_path: Path) -> None:
    result = put(store_url, "llama-1b", model="llama")
    question = (
        "SELECT r.path, t.value AS model, p.phase, p.hdbi, p.wall_ns, p.hdbi_reason FROM phases p "
        "JOIN reports r ON r.id = p.report_id JOIN tags t ON t.report_id = r.id "
        "WHERE r.path LIKE '%:%' OR p.phase LIKE '%de%' ORDER BY p.id"
    )
    decode = next(entry for entry in result["phases"] if entry["phase"] == "decode")
    done = program("store", "query", question, "--store", store_url, "-f", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["model"], row["phase"], row["wall_ns"]) == ("llama", "decode", decode["wall_ns"])
    assert row["hdbi"] == decode["taxbreak"]["hdbi"]
    assert row["hdbi_reason"] is None
    text = program("store", "query", question, "--store", store_url, "-f", "csv").stdout
    (line,) = csv.DictReader(io.StringIO(text))
    assert int(line["wall_ns"]) == decode["wall_ns"]
    assert "decode" in program("store", "query", question, "--store", store_url).stdout
    target = tmp_path / "rows.parquet"
    assert program("store", "query", question, "--store", store_url, "-f", "parquet", "-o", target).returncode == 0
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(target).to_pylist() == [row]


def test_query_cannot_write(store_url: str) -> None:
    put(store_url, "null-kernel")
    for statement in ("DELETE FROM reports", "DROP TABLE states", "SELECT nothing FROM reports", "x"):
        done = program("store", "query", statement, "--store", store_url)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr
    done = program("store", "query", "SELECT count(*) AS n FROM reports", "--store", store_url, "-f", "json")
    assert json.loads(done.stdout) == [{"n": 1}]


def test_no_store_is_said_and_not_made(tmp_path: Path) -> None:
    done = program("store", "query", "SELECT 1", "--store", tmp_path / "none.db")
    assert done.returncode == 2
    assert "no such store" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_reader_sees_whole_reports_while_a_writer_writes(tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    put(url, "null-kernel")
    with open_store(url, write=True) as writer, writer.begin() as held:
        held.execute(models.reports.delete())
        with open_store(url) as reader, reader.begin() as connection:
            assert len(connection.execute(models.reports.select()).all()) == 1
    with open_store(url) as reader, reader.begin() as connection:
        assert connection.execute(models.phases.select()).all() == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_odd_text_is_stored(store_url: str) -> None:
    source = find_report("null-kernel")
    result = analyze(source, sha256=True).to_dict()
    result["phases"][0]["phase"] = "nul \0 and half \ud83d of a pair"
    for row in result["kernels"]:
        row["phase"] = result["phases"][0]["phase"]
    with open_store(store_url, write=True) as store:
        write_analysed(store, Analysed("p\0\udcff", {"k": "\0"}, "0" * 64, 1, result, 1), "{}")
        with store.begin() as connection:
            (phase,) = connection.execute(models.phases.select()).mappings()
    assert phase["phase"] == "nul \N{REPLACEMENT CHARACTER} and half ? of a pair"


def test_options_are_the_same_text_for_the_same_choices(tmp_path: Path) -> None:
    rule = PhaseRule.parse("decode=^decode")
    assert options_text(None) == options_text(Options()) == "{}"
    assert options_text(Options(rules=(rule,))) == options_text(Options(rules=(PhaseRule.parse("decode=^decode"),)))
    assert options_text(Options(t_sys_ns=1)) != options_text(Options(t_sys_ns=2))
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_text("a")
    two.write_text("a")
    # a file counts by what it holds
    assert options_text(Options(null_report=one)) == options_text(Options(null_report=two))
    two.write_text("b")
    assert options_text(Options(null_report=one)) != options_text(Options(null_report=two))


def test_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(TaxbreakError, match="not a results store"):
        open_store(str(path), write=True)
    assert path.read_bytes() == before
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 50)
    with pytest.raises(TaxbreakError, match="not a database"):
        open_store(str(path), write=True)


def test_export_holds_every_row_and_is_partitioned(store_url: str, tmp_path: Path) -> None:
    import pyarrow.dataset as ds

    put(store_url, "llama-1b", model="llama", date="20260101")
    put(store_url, "multi", model="other/model")
    put(store_url, "null-kernel")
    with open_store(store_url, write=True) as store:
        write_failed(store, Failed("/lost", "unreadable", "/lost: no such file"))
    folder = tmp_path / "out"
    args = ("store", "export", "--store", store_url, "--parquet", folder, "--partition-by", "model")
    done = program(*args)
    assert done.returncode == 0, done.stderr
    with open_store(store_url) as store, store.begin() as connection:
        for table in models.metadata.sorted_tables:
            stored = [dict(row) for row in connection.execute(table.select()).mappings()]
            read = ds.dataset(folder / table.name, partitioning="hive").to_table().to_pylist()
            assert len(read) == len(stored)
            key = tuple(column.name for column in table.primary_key)
            by_key = {tuple(row[name] for name in key): row for row in read}
            for row in stored:
                found = by_key[tuple(row[name] for name in key)]
                for name, value in row.items():
                    if isinstance(value, (int, float, str)) or value is None:
                        assert found[name] == value
    places = sorted(path.name for path in (folder / "phases").iterdir())
    assert places == ["model=__HIVE_DEFAULT_PARTITION__", "model=llama", "model=other%2Fmodel"]
    assert program(*args).returncode == 2
    assert program(*args, "--force-overwrite").returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_export_replaces_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    from taxbreak_nsys.store.table_export import export_parquet

    url = str(tmp_path / "s.db")
    put(url, "null-kernel")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with open_store(url) as store:
        with pytest.raises(TaxbreakError, match="not an export of a store"):
            export_parquet(store, folder, [], force=True)
        (folder / "thesis.tex").unlink()
        assert export_parquet(store, folder, ["gpu", "nsys_version"], force=False)["reports"] == 1


def test_prune_takes_what_was_chosen_and_all_that_hangs_on_it(store_url: str, tmp_path: Path) -> None:
    from datetime import timedelta

    from taxbreak_nsys.store.prune import Selection, prune_store

    put(store_url, "llama-1b", model="llama")
    put(store_url, "multi", path=str(tmp_path / "gone.sqlite"), model="llama")
    put(store_url, "null-kernel", path="s3://bucket/null.sqlite", model="other")
    with open_store(store_url, write=True) as store:
        write_failed(store, Failed("/x", "refused", "no"))

        def left() -> list[int]:
            tables = (
                models.reports,
                models.failures,
                models.phases,
                models.states,
                models.kernels,
                models.tags,
            )
            with store.begin() as connection:
                return [len(connection.execute(table.select()).all()) for table in tables]

        before = left()
        assert prune_store(store, Selection(older_than=timedelta(days=36500)), dry=False) == (0, 0)
        assert prune_store(store, Selection(gone=True), dry=True) == (1, 0)
        assert left() == before
        assert prune_store(store, Selection(gone=True, tags={"model": "other"}), dry=False) == (0, 0)
        assert prune_store(store, Selection(gone=True, failures=True), dry=False) == (1, 1)
        assert left()[:2] == [2, 0]
        assert prune_store(store, Selection(tags={"model": "llama"}), dry=False) == (1, 0)
        assert prune_store(store, Selection(tags={"model": "other"}), dry=False) == (1, 0)
        assert left() == [0] * 6


def test_prune_needs_a_choice(tmp_path: Path) -> None:
    done = program("store", "prune", "--store", tmp_path / "none.db")
    assert done.returncode == 2
    assert "nothing is chosen" in done.stderr
    assert list(tmp_path.iterdir()) == []
