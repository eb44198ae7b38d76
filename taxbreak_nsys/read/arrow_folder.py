"""Reads a folder written by `nsys export --type arrowdir` or `parquetdir`: one file per table, memory-mapped."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import integers, numbers
from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.read.schema import KNOWN_TABLES, RUNTIME, Layout, check_schema, only_process

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".arrow", ".parquet")


class ArrowFolder:
    """The tables of an exported folder that the queries use; all integers are int64, as in SQLite."""

    def __init__(self, path: Path, shown: str) -> None:
        """List the tables of a folder; `shown` names it in messages."""
        self.path, self.shown = path, shown
        known = {table.lower(): table for table in KNOWN_TABLES}
        self._files = {
            known[file.stem.lower()]: file
            for file in sorted(path.iterdir())
            if file.suffix in SUFFIXES and file.stem.lower() in known
        }

    def layout(self) -> Layout:
        """Return tables, columns and row counts; raises TaxbreakError where the folder is no report."""
        schema: dict[str, frozenset[str]] = {}
        rows = {}
        for table in self._files:
            columns = self._open(table)
            schema[table] = frozenset(name.lower() for name in columns.column_names)
            rows[table] = len(columns)
        check_schema(schema, self.shown)
        return Layout(schema, rows, only_process(schema, self.shown, self._processes), keyed_names=False)

    def threads(self) -> list[int]:
        """Return the globalTids of the threads that call CUDA, sorted."""
        threads: set[int] = set()
        for (thread,) in self.parts(RUNTIME, ["globalTid"], 1 << 20):
            threads |= set(thread.unique().to_pylist())
        return sorted(threads - {None})

    def _processes(self) -> list[int]:
        return sorted({thread & ~0xFFFFFF for thread in self.threads()})[:2]

    def starts(self, table: str) -> Ints:
        """Return the start (ns) of each row of a table, -1 for null; empty without the table."""
        parts = [numbers(start) for (start,) in self.parts(table, ["start"], 1 << 20)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def order(self, table: str) -> Ints | None:
        """Return the row indices of a table, sorted by start, then end; None without the table."""
        parts = [[numbers(c) for c in columns] for columns in self.parts(table, ["start", "end"], 1 << 20)]
        if not parts:
            return None
        start, end = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.lexsort((end, start))

    def parts(
        self, table: str, columns: Sequence[str], rows: int, order: Ints | None = None
    ) -> Iterator[list[pa.Array]]:
        """Yield some columns of a table, `rows` rows at a time; a column that the table lacks is all null.

        Integers of any width become int64; text keeps its type. `order` lists the row indices in the order to yield.
        """
        import pyarrow as pa

        if table not in self._files:
            return
        try:
            if self._files[table].suffix == ".parquet" and order is None:
                yield from self._parquet_parts(table, columns, rows)
                return
            mapping = None if self._files[table].suffix == ".parquet" else _Mapping(self._files[table])
            whole = self._open(table) if mapping is None else mapping.table()
            names = {name.lower(): name for name in whole.column_names}
            whole = whole.select([names[column.lower()] for column in columns if column.lower() in names])
            for low in range(0, len(whole), rows):
                part = whole.slice(low, rows) if order is None else whole.take(integers(order[low : low + rows]))
                yield [_column(part, names, column) for column in columns]
                if mapping is not None:
                    mapping.release_pages()
        except (pa.ArrowException, OSError) as error:
            raise self._broken(table, error) from error

    def _parquet_parts(self, table: str, columns: Sequence[str], rows: int) -> Iterator[list[pa.Array]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self._files[table])
        names = {name.lower(): name for name in file.schema_arrow.names}
        chosen = [names[column.lower()] for column in columns if column.lower() in names]
        for batch in file.iter_batches(rows, columns=chosen or None):
            part = pa.Table.from_batches([batch])
            yield [_column(part, names, column) for column in columns]

    def whole(self, table: str) -> pa.Table:
        """Return a whole (small) table; unsigned numbers become int64, as SQLite stores them."""
        import pyarrow as pa

        content = self._open(table)
        return pa.table({name: _signed(content[name].combine_chunks()) for name in content.column_names})

    def _open(self, table: str) -> pa.Table:
        import pyarrow as pa

        file = self._files[table]
        try:
            if file.suffix == ".parquet":
                import pyarrow.parquet as pq

                return pq.read_table(file, memory_map=True)
            content = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
            content.validate()
        except (pa.ArrowException, OSError) as error:
            raise self._broken(table, error) from error
        return content

    def _broken(self, table: str, error: Exception) -> TaxbreakError:
        reason = "".join(c if c.isprintable() else " " for c in str(error))[:200]
        return TaxbreakError(f"{self.shown}: table {table} is damaged ({reason}); export the report again")


class _Mapping:
    """A memory-mapped file of the Arrow stream format whose pages can be released after use."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)

    def table(self) -> pa.Table:
        """Return the file's table; its columns point into the mapping."""
        import pyarrow as pa

        content = pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(self._map))).read_all()
        content.validate()
        return content

    def release_pages(self) -> None:
        """Let the system reclaim the pages; a later access reads them from the file again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _column(part: pa.Table, names: Mapping[str, str], column: str) -> pa.Array:
    import pyarrow as pa

    if column.lower() not in names:
        return pa.nulls(len(part), pa.int64())
    chunked = part.column(names[column.lower()])
    return _signed(chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks())


def _signed(column: pa.Array) -> pa.Array:
    """Return integers and bools as int64, as SQLite stores them: uint64 above the int64 range becomes negative."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
    if column.type == pa.uint64():
        return column.view(pa.int64())
    if (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)) and column.type != pa.int64():
        return pc.cast(column, pa.int64())
    return column
