"""A report in a folder of Arrow or Parquet files, with the interface of `Database`.

Long tables are read with pyarrow (`arrow_queries`). All other queries run their SQL in an in-memory SQLite database;
the small tables that they name are copied into it on first use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import integers, numbers
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.read import file_safety
from taxbreak_nsys.read.arrow_folder import ArrowFolder
from taxbreak_nsys.read.column_checks import Cleaning
from taxbreak_nsys.read.database import BATCH_ROWS, Database
from taxbreak_nsys.read.report_inspection import Inspected
from taxbreak_nsys.read.schema import KNOWN_TABLES, PROCESS, stand_ins
from taxbreak_nsys.read.sql_files import query_text
from taxbreak_nsys.read.stack_frames import DEPTH_BITS, symbol_texts

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.read.arrow_query import ArrowQuery

_SECONDS = 60.0
"""Time limit of a query over small tables."""
_DOMAIN_CREATED = 75
"""The NVTX event type of a domain's creation."""
_COUNTED = ("OSRT_API", "COMPOSITE_EVENTS", "SCHED_EVENTS")
"""The tables whose rows `thread_events` counts."""
_NUMBERED = ("samples_by_time", "sample_frames_by_time")
"""Queries that number the samples in the order of time."""


class ArrowDatabase(Database):
    """One report in a folder of table files; a context manager, like `Database`."""

    def __init__(self, report: Inspected, cleaning: Cleaning | None = None) -> None:
        """Open an inspected folder; siblings share `cleaning`."""
        self._folder = ArrowFolder(report.path, report.shown)
        self._copied: set[str] = set()
        super().__init__(report, cleaning)

    def sibling(self, *, counted: bool = True, sorts: bool = False) -> Database:
        """Return a second reader of the same folder, for another thread; see `Database.sibling`."""
        return ArrowDatabase(self._report, self.cleaning if counted else None)

    def _connect(self) -> None:
        import adbc_driver_manager
        import adbc_driver_sqlite

        self._database = adbc_driver_sqlite.connect(":memory:")
        self._connection = adbc_driver_manager.AdbcConnection(self._database)
        self._copy("StringIds", self._folder.whole("StringIds"))
        for statement in (*file_safety.SETTINGS, *stand_ins(self.layout)):
            self._execute(statement)

    def _allowed_seconds(self) -> float:
        return _SECONDS

    def _copy(self, table: str, rows: pa.Table) -> None:
        """Copy a table into the database in memory."""
        import adbc_driver_manager

        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.ingest.target_table": table, "adbc.ingest.mode": "adbc.ingest.mode.create"})
            statement.bind_stream(rows.to_reader())
            statement.execute_update()
        self._copied.add(table)

    def query(self, subject: str, **parameters: str) -> pa.Table:
        """Return the rows of `sql/<subject>.sql`; see `Database.query`."""
        import pyarrow as pa

        from taxbreak_nsys.read.arrow_queries import ARROW_QUERIES

        if subject == "api_threads":
            return pa.table({"thread": pa.array(self._folder.threads(), pa.int64())})
        if subject == "nvtx_domains":
            return self._domains()
        if subject == "event_threads":
            return self._event_threads(int(parameters["thread"]))
        if subject == "thread_events":
            return self._thread_events(json.loads(parameters["threads"]))
        if subject in ARROW_QUERIES:
            return pa.concat_tables(self._parts(subject, BATCH_ROWS, parameters, in_order=False))
        named = KNOWN_TABLES & set(re.findall(r"\w+", query_text(subject))) & set(self.schema)
        for table in named - self._copied:
            self._copy(table, self._folder.whole(table))
        return super().query(subject, **parameters)

    def stream(
        self, subject: str, batch: int = BATCH_ROWS, *, in_order: bool = False, **parameters: str
    ) -> Generator[pa.Table]:
        """Yield the rows of `sql/<subject>.sql`, `batch` rows of the table at a time; see `Database.stream`."""
        if subject in _NUMBERED:
            yield self.cleaning.table(self._numbered(subject, **parameters), subject)
            return
        yield from self._parts(subject, batch, parameters, in_order=in_order)

    def _parts(self, subject: str, batch: int, parameters: Mapping[str, str], *, in_order: bool) -> Generator[pa.Table]:
        import pyarrow as pa

        from taxbreak_nsys.read.arrow_queries import ARROW_QUERIES

        if parameters.get("all") == "0":  # few rows remain of a batch, so a small one would cost more than it yields
            batch = max(batch, BATCH_ROWS)
        empty = True
        for query in ARROW_QUERIES[subject]:
            order = self._folder.order(query.table) if in_order else None
            for arrays in self._folder.parts(query.table, query.columns, batch, order):
                empty = False
                yield self.cleaning.table(query.rows(self._filled(query, arrays), parameters), subject)
        if empty:
            query = ARROW_QUERIES[subject][0]
            nothing = [pa.nulls(0, pa.int64()) for _ in query.columns]
            yield self.cleaning.table(query.rows(nothing, parameters), subject)

    def _filled(self, query: ArrowQuery, arrays: list[pa.Array]) -> list[pa.Array]:
        """Fill the missing process column of old exports with the only process that calls CUDA."""
        if self.layout.process is None or PROCESS not in query.columns:
            return arrays
        if PROCESS.lower() in self.schema[query.table]:
            return arrays
        place = query.columns.index(PROCESS)
        filled = integers(np.full(len(arrays[place]), self.layout.process, np.int64))
        return [*arrays[:place], filled, *arrays[place + 1 :]]

    def _event_threads(self, passed_over: int) -> pa.Table:
        """Return the threads with OS calls, samples or context switches, as `sql/event_threads.sql` does."""
        import pyarrow as pa

        threads: set[int] = set()
        for table in _COUNTED:
            for (thread,) in self._folder.parts(table, ("globalTid",), 1 << 20):
                threads |= set(thread.unique().to_pylist()) - ({passed_over} if table == "OSRT_API" else set())
        return pa.table({"thread": pa.array(sorted(threads - {None}), pa.int64())})

    def _thread_events(self, threads: list[int]) -> pa.Table:
        """Return how many events some threads have, as `sql/thread_events.sql` does."""
        import pyarrow as pa

        from taxbreak_nsys.read.arrow_queries import is_os_call

        counts = {thread: [0] * len(_COUNTED) for thread in threads}
        for place, table in enumerate(_COUNTED):
            for thread, event_class in self._folder.parts(table, ("globalTid", "eventClass"), 1 << 20):
                calls = thread.filter(is_os_call(event_class)) if table == "OSRT_API" else thread
                for entry in calls.value_counts().to_pylist():
                    if entry["values"] in counts:
                        counts[entry["values"]][place] += entry["counts"]
        columns: dict[str, list[int]] = {"thread": sorted(thread for thread, row in counts.items() if any(row))}
        for place, name in enumerate(("os_calls", "samples", "switches")):
            columns[name] = [counts[thread][place] for thread in columns["thread"]]
        return pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})

    def _domains(self) -> pa.Table:
        """Return the names of NVTX domains, as `sql/nvtx_domains.sql` does."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows: list[tuple[int, int, int, str | None]] = []
        for arrays in self._folder.parts(
            "NVTX_EVENTS", ("eventType", "globalTid", "domainId", "textId", "text"), 1 << 20
        ):
            keep = pc.and_(pc.equal(arrays[0], _DOMAIN_CREATED), pc.is_valid(arrays[1]))
            thread, domain, number, text = (array.filter(keep).to_pylist() for array in arrays[1:])
            rows += [
                (owner & PROCESS_MASK, domain_id or 0, -1 if string is None else string, own)
                for owner, domain_id, string, own in zip(thread, domain, number, text, strict=True)
            ]
        strings = symbol_texts(self, np.array([row[2] for row in rows if row[2] >= 0], np.int64))
        names: dict[tuple[int, int], str] = {}
        for process, domain_id, string, own in rows:
            name = strings.get(string, own) or ""
            names[process, domain_id] = max(names.get((process, domain_id), ""), name)
        table = pa.table(
            {
                "process": pa.array([process for process, _ in names], pa.int64()),
                "domain_id": pa.array([domain_id for _, domain_id in names], pa.int64()),
                "name": pa.array(list(names.values()), pa.string()),
            }
        )
        return self.cleaning.table(table, "nvtx_domains")

    def _numbered(self, subject: str, threads: str) -> pa.Table:
        """Return samples or their frames, the samples renumbered in the order of time (`sql/samples_by_time.sql`)."""
        import pyarrow as pa

        samples = pa.concat_tables(self.stream("samples", threads=threads))
        identifier, start, thread = (numbers(samples[name]) for name in ("sample_id", "start_ns", "thread"))
        order = np.lexsort((identifier, start))
        number = np.arange(1, len(order) + 1, dtype=np.int64)
        if subject == "samples_by_time":
            columns = {"sample_id": number, "start_ns": start[order], "thread": thread[order]}
            return pa.table({name: integers(column) for name, column in columns.items()})
        frames = pa.concat_tables(self.stream("sample_frames"))
        key, symbol = numbers(frames["sample_depth"]), numbers(frames["module_symbol"])
        by_id = np.argsort(identifier[order], kind="stable")
        known = identifier[order][by_id]
        at = np.minimum(np.searchsorted(known, key >> DEPTH_BITS), max(len(known) - 1, 0))
        is_known = known[at] == key >> DEPTH_BITS if len(known) else np.zeros(len(key), bool)
        renumbered = (number[by_id][at[is_known]] << DEPTH_BITS) | (key[is_known] & ((1 << DEPTH_BITS) - 1))
        by_key = np.argsort(renumbered, kind="stable")
        return pa.table({
            "sample_depth": integers(renumbered[by_key]), "module_symbol": integers(symbol[is_known][by_key]),
        })  # fmt: skip

    def starts(self, table: str, samples: int) -> pa.Table:
        """Return the starts (ns) of about `samples` evenly spaced rows of a table, in the file's order."""
        import pyarrow as pa

        start = self._folder.starts(table)
        return pa.table({"start_ns": integers(start[:: max(len(start) // samples, 1)])})
