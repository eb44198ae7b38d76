"""Selects and sorts the rows of a table: `--sort COLUMN` and `--top N`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RowOrder:
    """The rows of a table to show and their order; by default all rows in the table's own order.

    `sort` is a column title in any case, with or without its unit: `total time` is `Total Time (ns)`. `top` is the
    number of rows to keep, None for all.
    """

    top: int | None = None
    sort: str | None = None

    def apply(self, table: pa.Table) -> pa.Table:
        """Return the first `top` rows, sorted by `sort`: numbers largest first, texts from A to Z, nulls last.

        Raises TaxbreakError if the table has no such column.
        """
        if self.sort is not None:
            import pyarrow.types

            title = column_title(table.column_names, self.sort)
            text = pyarrow.types.is_string(table.schema.field(title).type)
            table = table.sort_by([(title, "ascending" if text else "descending")])
        return table if self.top is None else table.slice(0, self.top)


def column_title(titles: list[str], wanted: str) -> str:
    """Return the title that matches `wanted`; raises TaxbreakError with the closest titles if there is none."""
    known = {_folded(title): title for title in titles} | {title.casefold(): title for title in titles}
    title = known.get(wanted.strip().casefold()) or known.get(_folded(wanted))
    if title is None:
        close = difflib.get_close_matches(_folded(wanted), [_folded(name) for name in titles], n=3)
        names = ", ".join([known[name] for name in close] or titles)
        what = "nearest columns" if close else "columns"
        raise TaxbreakError(f"--sort {wanted!r}: no such column; the {what} are: {names}")
    return title


def _folded(title: str) -> str:
    """Return a title for comparison: lower case, without its unit, underscores as blanks."""
    return title.casefold().removesuffix(" (ns)").removesuffix("_ns").replace("_", " ").strip()
