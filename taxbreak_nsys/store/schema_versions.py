"""The versions of the store's schema: which one a database has, and the statements that lead to the next.

A version's statements are never changed once a release has them. `tests/fixtures` has a store of each release.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, String, Table, func, insert, select, text, update

from taxbreak_nsys.store.models import metadata

HEAD = "0002"
"""The schema that this program reads and writes: that of `models`."""

_UPGRADES: dict[str, tuple[str, tuple[str, ...]]] = {
    "0001": (
        "0002",
        tuple(
            f"ALTER TABLE phases ADD COLUMN {column}"
            for column in (
                "wall_p99_ns BIGINT", "range_ns BIGINT", "helpers_ns BIGINT", "comm_ns BIGINT", "comm_wait_ns BIGINT",
                "device_busy_share DOUBLE PRECISION",
            )
        ),
    ),
}  # fmt: skip
"""From each older version, the next one and what leads there; both databases take these statements."""

_MIGRATING = 0x7A78_6272  # any number, the same for every taxbreak-nsys: PostgreSQL locks by number

# its name and column are those of the first release
version_table = Table(
    "taxbreak_store_version", MetaData(), Column("version_num", String(32), primary_key=True)
)  # fmt: skip


def is_older(version: str) -> bool:
    """Return whether this program can bring a store of some version to HEAD."""
    return version in _UPGRADES


def bring_to_head(connection: Connection) -> None:
    """Create the tables, or bring those of an older version to HEAD, in the transaction of `connection`.

    Of two programs that try at once the second waits, and finds it done.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
    version_table.create(connection, checkfirst=True)
    version = connection.execute(select(version_table.c.version_num)).scalar()
    if version is None:
        metadata.create_all(connection)
        connection.execute(insert(version_table).values(version_num=HEAD))
        return
    while version != HEAD:
        following, statements = _UPGRADES[version]
        for statement in statements:
            connection.execute(text(statement))
        connection.execute(update(version_table).values(version_num=following))
        version = following
