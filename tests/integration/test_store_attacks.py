"""A hostile `store query`: it selects, or it is refused with one line; the store and its host stay as they are."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.store.store_opening import open_store
from taxbreak_nsys.store.user_query import run_select
from tests.support.program import COMMAND, one_line, run_program
from tests.support.reports import find_report

MARK = "taxbreak-was-here"

BOTH = (
    "DELETE FROM reports", "UPDATE reports SET path = 'x'", "DROP TABLE phases", "CREATE TABLE x (a INT)",
    "INSERT INTO tags VALUES (1, 'a', 'b')", "SELECT 1; DROP TABLE phases", "SELECT 1; SELECT 2", "BEGIN", "COMMIT",
    "SELECT 1; COMMIT; DROP TABLE phases", "CREATE TEMP TABLE x AS SELECT 1", "VACUUM", "ANALYZE", "", ";", "x",
    "WITH x AS (SELECT 1) DELETE FROM reports", "ALTER TABLE phases ADD COLUMN x INT",
)  # fmt: skip
SQLITE = (
    "ATTACH '{mark}' AS x", "ATTACH ':memory:' AS x", "DETACH main", "PRAGMA journal_mode=DELETE",
    "PRAGMA query_only=0",
    "PRAGMA writable_schema=1", "VACUUM INTO '{mark}'", "SELECT load_extension('x')", "SAVEPOINT x", "REINDEX",
    "SELECT * FROM pragma_journal_mode('delete')", "SELECT zeroblob(999999999)", "SELECT writefile('{mark}', 'x')",
    "SELECT replace(hex(zeroblob(30000000)), '0', '0000000000')", "CREATE VIRTUAL TABLE x USING fts5(a)",
)  # fmt: skip
POSTGRES = (
    "SELECT 1; COMMIT; COPY (SELECT 1) TO PROGRAM 'touch {mark}'", "COPY (SELECT 1) TO PROGRAM 'touch {mark}'",
    "COPY (SELECT 1) TO '{mark}'", "COPY tags FROM PROGRAM 'echo'", "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)", "SELECT set_config('role', 'postgres', false)",
    "SELECT lo_from_bytea(0, 'x')", "SELECT lo_export(lo_from_bytea(0, 'x'), '{mark}')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')", "SELECT \"pg_read_file\"('/etc/passwd')",
    "SELECT PG_Read_File('/etc/passwd')",
    "SELECT pg_catalog . pg_read_file ('/etc/passwd')", "SELECT pg_read_file/**/('/etc/passwd')",
    "SELECT U&\"\\0070g_read_file\"('/etc/passwd')", "SELECT pg_ls_dir('/')", "SELECT pg_terminate_backend(1)",
    "SELECT pg_reload_conf()", "SELECT pg_rotate_logfile()", "SELECT query_to_xml('DROP TABLE tags', true, true, '')",
    "SELECT ts_stat('DELETE FROM tags')", "SELECT nextval('reports_id_seq')", "SELECT setval('reports_id_seq', 1)",
    "WITH x AS (DELETE FROM tags RETURNING 1) SELECT * FROM x", "DO $$ BEGIN DELETE FROM tags; END $$",
    "SELECT hostile()", "SELECT * FROM hostile()", "CALL hostile()", "LISTEN x", "NOTIFY x",
    "SELECT pg_notify('a', 'b')",
    "PREPARE x AS SELECT 1", "EXECUTE x", "DEALLOCATE ALL", "RESET ALL", "SET ROLE postgres", "LOCK TABLE tags",
    "SELECT * FROM tags FOR UPDATE", "SELECT 1 INTO x", "GRANT ALL ON tags TO PUBLIC", "CREATE EXTENSION dblink",
    "EXPLAIN ANALYZE DELETE FROM tags", "SELECT pg_advisory_lock(1)", "SELECT pg_create_restore_point('x')",
)  # fmt: skip


@pytest.fixture
def store(store_url: str) -> str:
    run_program("batch", find_report("null-kernel"), "--store", store_url, "--tag", "k=v", check=True)
    if "://" in store_url:
        import psycopg

        with psycopg.connect(store_url, autocommit=True) as connection:
            connection.execute(
                "CREATE FUNCTION hostile() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM tags; RETURN 1; END $$"
            )
    return store_url


def content(store: str) -> str:
    questions = ("SELECT count(*) AS n FROM phases", "SELECT * FROM tags", "SELECT path FROM reports")
    said = [run_program("store", "query", q, "--store", store, "-f", "json", check=True).stdout for q in questions]
    return hashlib.sha256("".join(said).encode()).hexdigest()


def test_nothing_but_one_select_runs(store: str, tmp_path: Path) -> None:
    mark = Path("/tmp") / f"{MARK}-{tmp_path.name}"
    before = content(store)
    attacks = (*BOTH, *(POSTGRES if "://" in store else SQLITE))
    with open_store(store) as opened:
        for sql in attacks:
            with pytest.raises(TaxbreakError) as refusal:
                run_select(opened, sql.format(mark=mark), 20)
            assert "root:" not in str(refusal.value), sql
    for sql in ("SELECT 1; DROP TABLE phases", attacks[-1], attacks[len(BOTH)]):
        one_line(run_program("store", "query", sql.format(mark=mark), "--store", store))
    assert not mark.exists()
    assert content(store) == before


def test_selects_still_work(store: str) -> None:
    questions = {
        "SELECT 1 AS a": [{"a": 1}],
        "SELECT 1 AS a;": [{"a": 1}],
        "SELECT '%' AS a, ':x' AS b, '?' AS c": [{"a": "%", "b": ":x", "c": "?"}],
        "/* a -- comment */ SELECT 2 AS a": [{"a": 2}],
        "WITH x AS (SELECT 3 AS a) SELECT * FROM x": [{"a": 3}],
        "VALUES (1), (2)": [{"column1": 1}, {"column1": 2}],
        "SELECT k.name AS a, k.name AS a FROM kernels k LIMIT 0": [],
        "SELECT sum(wall_ns) - sum(wall_ns) AS a, count(*) AS n FROM phases WHERE phase LIKE '%l%'": [{"a": 0, "n": 1}],
        "SELECT value AS v FROM tags WHERE key = 'k'": [{"v": "v"}],
    }
    for sql, rows in questions.items():
        done = run_program("store", "query", sql, "--store", store, "-f", "json")
        assert done.returncode == 0, (sql, done.stderr)
        assert json.loads(done.stdout) == rows, sql


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i % 7 + 1 FROM n) SELECT count(*) FROM n"


def test_an_endless_select_ends_at_its_time(store: str) -> None:
    began = time.monotonic()
    said = one_line(run_program("store", "query", ENDLESS, "--store", store, "--timeout", "1"))
    assert "longer than 1 s" in said
    assert time.monotonic() - began < 10


def test_an_endless_select_ends_at_ctrl_c(store: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "store", "query", ENDLESS, "--store", store],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in said


def test_rows_without_end_are_refused(tmp_path: Path) -> None:
    store = str(tmp_path / "s.db")
    run_program("batch", find_report("null-kernel"), "--store", store, check=True)
    rows = ENDLESS.replace("count(*)", "i")
    assert "more than 2,000,000 rows" in one_line(run_program("store", "query", rows, "--store", store))


def test_odd_values_in_every_format(tmp_path: Path) -> None:
    store = str(tmp_path / "s.db")
    run_program("batch", find_report("null-kernel"), "--store", store, check=True)
    cells = ("=1+1", "+1", "-x", "@SUM(A1)", "\tx", "x\x1b[2Jy", "plain", "é")
    spelt = ", ".join("'" + cell.replace("\x1b", "' || char(27) || '") + f"' AS c{n}" for n, cell in enumerate(cells))
    sql = f"SELECT {spelt}, x'00ff' AS b, 9e999 AS high, -9e999 AS low, -5 AS number"

    def show(*options: str) -> str:
        done = run_program("store", "query", sql, "--store", store, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (row,) = json.loads(show("-f", "json"), parse_constant=lambda name: pytest.fail(name))
    assert [row[f"c{n}"] for n in range(len(cells))] == list(cells)
    assert (row["b"], row["high"], row["low"], row["number"]) == ("00ff", None, None, -5)
    assert json.loads(show("-f", "jsonl"))["high"] is None
    quoted = ["'=1+1", "'+1", "'-x", "'@SUM(A1)", "'\tx", "'x\\x1b[2Jy", "plain", "é"]
    (safe,) = csv.DictReader(io.StringIO(show("-f", "csv")))
    assert [safe[f"c{n}"] for n in range(len(cells))] == quoted
    assert safe["number"] == "-5"
    assert safe["b"] == "00ff"
    (raw,) = csv.DictReader(io.StringIO(show("-f", "csv", "--raw-csv")))
    assert [raw[f"c{n}"] for n in range(len(cells))] == list(cells)
    assert "\x1b" not in show()


def test_a_hostile_name_is_no_formula(tmp_path: Path) -> None:
    """A kernel's name is whatever its author, or whoever made the report, wrote."""
    import sqlite3

    report = tmp_path / "r.sqlite"
    report.write_bytes(find_report("null-kernel").read_bytes())
    with sqlite3.connect(report) as database:
        kernels = "(SELECT demangledName FROM CUPTI_ACTIVITY_KIND_KERNEL UNION SELECT shortName FROM "
        kernels += "CUPTI_ACTIVITY_KIND_KERNEL)"
        database.execute(f"UPDATE StringIds SET value = '=HYPERLINK(\"http://x\")' || id WHERE id IN {kernels}")
    arguments = ("analyze", report, "-r", "taxbreak_kern_sum", "-f", "csv")
    text = run_program(*arguments, check=True).stdout
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not any(cell.startswith("=") for cell in cells)
    raw = run_program(*arguments, "--raw-csv", check=True).stdout
    assert any(cell.startswith("=HYPERLINK") for row in csv.reader(io.StringIO(raw)) for cell in row)
