"""Writes the scrubbed copy: a new file with only the tables, columns and texts that the analysis needs.

The lists here name what is kept, so tables and columns of future nsys versions are left out.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.output_files import write_whole
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.column_checks import decoded
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.input_files import kept_inputs
from taxbreak_nsys.read.lost_events import lost_events
from taxbreak_nsys.read.report_inspection import inspect
from taxbreak_nsys.read.schema import RUNTIME
from taxbreak_nsys.scrub.hardware_names import hardware_name
from taxbreak_nsys.scrub.private_texts import without_secrets
from taxbreak_nsys.scrub.scrub_texts import Texts

_UNKNOWN = 0
"""The id, used by no string of the copy, for references to strings that the report lacks."""

_STRING_COLUMNS: dict[str, dict[str, str]] = {
    RUNTIME: {"nameId": "api"},
    "OSRT_API": {"nameId": "os"},
    "CUPTI_ACTIVITY_KIND_KERNEL": {"demangledName": "kernel", "shortName": "kernel", "mangledName": ""},
    "NVTX_EVENTS": {"textId": "range", "jsonTextId": ""},
    "PROFILER_OVERHEAD": {"nameId": "overhead"},
    "CUPTI_ACTIVITY_KIND_OVERHEAD": {"nameId": "overhead"},
    "CUBLAS_EVENTS": {"nameId": "library"},
    "CUDNN_EVENTS": {"nameId": "library"},
    "SAMPLING_CALLCHAINS": {"symbol": "symbol", "module": "module"},
    "CUDA_CALLCHAINS": {"symbol": "symbol", "module": "module"},
    "ThreadNames": {"nameId": "thread"},
    "CUDA_GRAPH_EVENTS": {"nameId": ""},
    "CUDA_GRAPH_NODE_EVENTS": {"nameId": ""},
}
"""Columns that refer to StringIds, with the sort of string; '' for columns that are set to NULL."""

_PLAIN = (
    "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", "CUPTI_ACTIVITY_KIND_CUDA_EVENT", "COMPOSITE_EVENTS", "SCHED_EVENTS",
    "TARGET_INFO_GPU", "TARGET_INFO_CUDA_DEVICE", "TARGET_INFO_CUDA_CONTEXT_INFO", "TARGET_INFO_CUDA_STREAM",
    "TARGET_INFO_SESSION_START_TIME", "ANALYSIS_DETAILS",
)  # fmt: skip
"""Tables whose numbers are kept and whose texts are not."""

_TEXT_COLUMNS = {("NVTX_EVENTS", "text"): "range", ("TARGET_INFO_GPU", "name"): "hardware"}
_OWN_THREADS = ("OSRT_API", "ThreadNames", "COMPOSITE_EVENTS", "SCHED_EVENTS")
"""Tables with rows of all processes; only rows of processes that call CUDA are kept."""

_NUMBER = r"\d+(?:\.\d+)*(?:-\d+v\d+)?"
_FACTS: dict[str, dict[str, str]] = {
    "META_DATA_EXPORT": {
        r"EXPORT_SCHEMA_VERSION(?:_MAJOR|_MINOR|_MICRO)?|EXPORT_PRODUCT_VERSION": _NUMBER,
        r"EXPORT_PARAM_(?:LAZY|TIME_NORMALIZE)": "true|false",
        r"EXPORT_(?:PARAM|CONFIG)_TIME_SHIFT": r"-?\d+",
    },
    "META_DATA_CAPTURE": {
        "CAPTURE_EVENT_TYPE": "Cuda|NvtxEvents|OSRuntime|CuBLAS|CuDNN|CuSPARSE|CuSOLVER|SchedEvents|CompositeEvents",
        r"OS_RUNTIME_OPTIONS:(?:DURATION|BACKTRACES)_THRESHOLD_NS": r"\d+",
        r"LINUX_PERF_OPTIONS:(?:SAMPLING_PERIOD|SAMPLES_PER_BACKTRACE|CPU_IP_SAMPLING_TRIGGER_EVENT_INDEX)": r"\d+",
        r"LINUX_PERF_OPTIONS:COLLECT_(?:IP_BACKTRACE_SAMPLES|CPU_CTXSW_TRACE)": "true|false",
        r"(?:PROCESS_\d+:)?CUDA_GRAPH_TRACE_OPTIONS:MODE": "Graph|Node",
        r"(?:PROCESS_\d+:)?CUDA_SKIP_SOME_API_CALLS": "true|false",
    },
    "TARGET_INFO_SYSTEM_ENV": {
        "CpuArchitecture": "x86_64|aarch64|arm64",
        r"CpuCores|CpuSpeedMhz|CudaDriverVersion": r"\d+",
        "NvDriverVersion": _NUMBER,
    },
}
_FACTS["EXPORT_META_DATA"] = _FACTS["META_DATA_EXPORT"]
"""Facts that are kept: {table: {pattern of the name: pattern of the value}}."""

_COMMON_NAMES = {"root", "user", "localhost", "admin", "ubuntu", "linux", "node", "none", "unknown", "nobody", "host"}
"""Generic names of users and hosts, which identify nobody and may be part of kernel names."""

_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9]{0,40}")


@dataclass(frozen=True)
class Copied:
    """Figures of a copy.

    `kept` and `replaced` count names by sort, `removed` counts pieces of private data by kind.
    """

    tables: int
    rows: int
    texts: int
    texts_of_report: int
    kept: Mapping[str, int]
    replaced: Mapping[str, int]
    removed: Mapping[str, int]


def write_clean(report: Path, target: Path, *, names: bool = False, force: bool = False) -> Copied:
    """Write a copy of `report` without private data; with `names`, private words in names are replaced, too.

    The analysis of the copy gives the same numbers. Raises TaxbreakError where the report cannot be read or the copy
    cannot be written.
    """
    copied: list[Copied] = []
    with kept_inputs(), Database(inspect(report, sqlite=True)) as database:
        write_whole(target, lambda path: copied.append(_Copy(database, path, names).run()), force=force)
    return copied[0]


def _people_and_hosts(database: Database) -> list[str]:
    """Return the names of hosts and users in the report, longest first, without generic names."""
    rows = database.query("people_and_hosts").to_pylist()
    names = {str(row["name"]).strip() for row in rows}
    names |= {name.partition(".")[0] for name in names}
    identifying = (name for name in names if len(name) > 3 and name.lower() not in _COMMON_NAMES)
    return sorted(identifying, key=len, reverse=True)


class _Copy:
    def __init__(self, database: Database, target: Path, names: bool) -> None:
        self._database, self._target = database, target
        self._texts = Texts(names=names, private=_people_and_hosts(database))
        self._ids: dict[tuple[str, int], int] = {}
        self._strings: list[str] = []
        self._rows = 0

    def run(self) -> Copied:
        """Write the target file; raises TaxbreakError where SQLite fails."""
        for row in self._database.query("scrub_strings").to_pylist():
            new = self._texts.new(row["sort"], row["value"])
            self._strings.append(new)
            self._ids[row["sort"], row["id"]] = len(self._strings)
        connection = sqlite3.connect(self._target, uri=True, isolation_level=None)
        try:
            for statement in (*file_safety.SETTINGS, "PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF"):
                connection.execute(statement)
            connection.create_function("new_id", 2, self._new_id, deterministic=True)
            connection.create_function("new_text", 2, self._new_text, deterministic=True)
            connection.text_factory = decoded
            connection.execute("ATTACH ? AS report", (file_safety.uri(self._database.path),))
            connection.execute("BEGIN")
            tables = self._fill(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise TaxbreakError(f"{self._database.shown}: cannot be copied ({error})") from error
        finally:
            connection.close()
        return Copied(
            tables=tables, rows=self._rows, texts=len(self._strings),
            texts_of_report=self._database.layout.rows.get("StringIds", 0), kept=self._texts.kept,
            replaced=self._texts.replaced, removed=self._texts.removed,
        )  # fmt: skip

    def _fill(self, connection: sqlite3.Connection) -> int:
        connection.execute("CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
        connection.executemany("INSERT INTO StringIds VALUES (?, ?)", enumerate(self._strings, start=1))
        present = {
            str(name).lower(): str(name)
            for (name,) in connection.execute("SELECT name FROM report.sqlite_master WHERE type = 'table'")
        }
        wanted = [table for table in (*_STRING_COLUMNS, *_PLAIN) if table.lower() in present]
        for table in wanted:
            self._copy_table(connection, table, present[table.lower()])
        facts = [table for table in _FACTS if table.lower() in present]
        for table in facts:
            self._copy_facts(connection, table)
        self._copy_diagnostics(connection)
        return 1 + len(wanted) + len(facts)

    def _copy_table(self, connection: sqlite3.Connection, table: str, spelt: str) -> None:
        columns, values = [], []
        for row in connection.execute(f'PRAGMA report.table_info("{spelt}")'):
            name = str(row[1])
            if not _COLUMN.fullmatch(name):
                continue
            columns.append(f'"{name}"')
            values.append(self._value(table, name))
        where = " WHERE eventType IN (59, 60, 70, 71, 75)" if table == "NVTX_EVENTS" else ""
        if table in _OWN_THREADS:
            where = (
                f" WHERE (globalTid & ~0xFFFFFF) IN (SELECT globalTid & ~0xFFFFFF FROM report.{RUNTIME} "
                "WHERE globalTid IS NOT NULL)"
            )
        connection.execute(f'CREATE TABLE "{table}" ({", ".join(columns)})')
        connection.execute(
            f'INSERT INTO main."{table}" (rowid, {", ".join(columns)}) '
            f'SELECT rowid, {", ".join(values)} FROM report."{spelt}"{where} ORDER BY rowid'
        )
        self._rows += connection.execute("SELECT changes()").fetchone()[0]

    @staticmethod
    def _value(table: str, column: str) -> str:
        """Return the SQL expression for a column: numbers unchanged, kept texts rewritten, everything else NULL."""
        sorts = {name.lower(): sort for name, sort in _STRING_COLUMNS.get(table, {}).items()}
        if column.lower() in sorts:
            sort = sorts[column.lower()]
            if not sort:
                return "NULL"
            kind = f"'{sort}'"
            if table == "NVTX_EVENTS":
                kind = "CASE eventType WHEN 75 THEN 'domain' ELSE 'range' END"
            return f'new_id({kind}, "{column}")'
        text = next((s for (t, c), s in _TEXT_COLUMNS.items() if t == table and c.lower() == column.lower()), None)
        if text == "range":
            return f"""new_text(CASE eventType WHEN 75 THEN 'domain' ELSE 'range' END, CAST("{column}" AS BLOB))"""
        if text:
            return f"""new_text('{text}', CAST("{column}" AS BLOB))"""
        return f"""CASE WHEN typeof("{column}") IN ('integer', 'real') THEN "{column}" END"""

    def _new_id(self, sort: str, old: object) -> int | None:
        if old is None:
            return None
        number = int(old) if isinstance(old, int | float) else -1
        return -1 if number < 0 else self._ids.get((sort, number), _UNKNOWN)

    def _new_text(self, sort: str, old: bytes | None) -> str | None:
        if old is None:
            return None
        text = decoded(old)
        return hardware_name(text) if sort == "hardware" else self._texts.new(sort, text)

    def _copy_facts(self, connection: sqlite3.Connection, table: str) -> None:
        rules = [(re.compile(name), re.compile(value)) for name, value in _FACTS[table].items()]
        connection.execute(f'CREATE TABLE "{table}" (name TEXT, value TEXT)')
        facts = connection.execute(f'SELECT CAST(name AS TEXT), CAST(value AS TEXT) FROM report."{table}"').fetchall()
        kept = [
            (name, value)
            for name, value in facts
            if name is not None
            and value is not None
            and any(n.fullmatch(name) and v.fullmatch(value) for n, v in rules)
            and without_secrets(value) == value
        ]
        kept += [(name, hardware_name(value)) for name, value in facts if name == "CpuDescription" and value]
        connection.executemany(f'INSERT INTO main."{table}" VALUES (?, ?)', kept)
        self._rows += len(kept)

    def _copy_diagnostics(self, connection: sqlite3.Connection) -> None:
        """Replace nsys's messages about lost events, which may hold private data, by fixed texts."""
        lost = lost_events(self._database)
        if lost:
            shown = {"nvtx": "NVTX", "osrt": "OS runtime", "cuda": "CUDA"}
            connection.execute("CREATE TABLE DIAGNOSTIC_EVENT (severity INTEGER, text TEXT)")
            texts = [(2, f"{shown.get(what, 'some')} events were lost") for what in lost]
            connection.executemany("INSERT INTO DIAGNOSTIC_EVENT VALUES (?, ?)", texts)


def kept_lines(copied: Copied, *, names: bool) -> list[str]:
    """Return lines for the user: names kept, with the reason, names replaced, and private data removed."""

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"

    why = "public interfaces, and words by which the analysis knows a kernel, a mark or a library" if names else (
        "the analysis is about them; --names replaces their private words"
    )  # fmt: skip
    return [
        f"names kept: {listed(copied.kept)} ({why})",
        f"names replaced: {listed(copied.replaced)}",
        f"taken out of names: {listed(copied.removed)}",
        "kept as well: numbers, times, process and thread ids, models of GPU and CPU, versions, the session's start",
    ]
