"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `opening.py` hands over."""

from __future__ import annotations

from alembic import context

from taxbreak_nsys.store.models import metadata
from taxbreak_nsys.store.store_opening import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
