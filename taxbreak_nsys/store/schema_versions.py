"""Versions of the store's schema, and the migrations between them.

The statements of a released version never change. `tests/fixtures` has a store of each release.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, String, Table, func, insert, select, text, update

from taxbreak_nsys.store.models import metadata

HEAD = "0002"
"""The schema version that this program reads and writes, defined by `models`."""

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
"""Maps each older version to (next version, statements); the statements are valid for both databases."""

_MIGRATING = 0x7A78_6272  # arbitrary but fixed: the number of PostgreSQL's advisory lock

# Name and column must stay as in the first release.
version_table = Table(
    "taxbreak_store_version", MetaData(), Column("version_num", String(32), primary_key=True)
)  # fmt: skip


def is_older(version: str) -> bool:
    """Return whether this program can migrate a store of some version to HEAD."""
    return version in _UPGRADES


def bring_to_head(connection: Connection) -> None:
    """Create the tables, or migrate them to HEAD, in the transaction of `connection`.

    If two programs do so at the same time, the second one waits and finds the store up to date.
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
