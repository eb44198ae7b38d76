"""The rows that a user asks for of a table: `--sort COLUMN` and `--top N`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RowOrder:
    """Which rows of a table to show; the default is all of them in the table's own order.

    `sort` is a column title, with or without its unit and in any case: `total time` is `Total Time (ns)`. `top` is
    the number of rows that are kept, None for all.
    """

    top: int | None = None
    sort: str | None = None

    def apply(self, table: pa.Table) -> pa.Table:
        """Return the rows asked for: numbers largest first, texts from A to Z, absent values last.

        Raises TaxbreakError where the table has no such column.
        """
        if self.sort is not None:
            import pyarrow.types

            title = column_title(table.column_names, self.sort)
            text = pyarrow.types.is_string(table.schema.field(title).type)
            table = table.sort_by([(title, "ascending" if text else "descending")])
        return table if self.top is None else table.slice(0, self.top)


def column_title(titles: list[str], wanted: str) -> str:
    """Return the title that a user means; raises TaxbreakError that names the nearest ones."""
    known = {_folded(title): title for title in titles} | {title.casefold(): title for title in titles}
    title = known.get(wanted.strip().casefold()) or known.get(_folded(wanted))
    if title is None:
        close = difflib.get_close_matches(_folded(wanted), [_folded(name) for name in titles], n=3)
        shown = [known[name] for name in close] or titles
        raise TaxbreakError(f"--sort {wanted!r}: no such column; the {'nearest' if close else 'columns'} are: "
                            f"{', '.join(shown)}")  # fmt: skip
    return title


def _folded(title: str) -> str:
    """Return a title as it is compared: in small letters, without its unit, underscores as blanks."""
    return title.casefold().removesuffix(" (ns)").removesuffix("_ns").replace("_", " ").strip()
