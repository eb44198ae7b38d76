"""Mapped tables can be read after their pages were given back, also when the file is gone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from taxbreak_nsys.arrays.mapped_files import mapped_table, release_mapped_pages


def test_a_table_is_whole_after_its_pages_were_given_back(tmp_path: Path) -> None:
    file = tmp_path / "rows.arrow"
    expected = pa.table({"number": list(range(10_000)), "text": [f"row {row}" for row in range(10_000)]})
    with pa.ipc.new_file(str(file), expected.schema) as writer:
        for low in range(0, len(expected), 3_000):
            writer.write_table(expected.slice(low, 3_000))
    table = mapped_table(file)
    file.unlink()
    assert table.equals(expected)
    release_mapped_pages()
    assert table.equals(expected)


def test_nothing_is_mapped() -> None:
    release_mapped_pages()
