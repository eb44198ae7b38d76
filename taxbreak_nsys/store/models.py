"""The tables of the results store.

Durations are integer ns, named `…_ns`; a value that was not measured is NULL. Dates are UTC. The columns are named like
the leaves of a report's JSON object, so `Result.to_dict()` defines each metric.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite assigns row numbers only to a primary key of type INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


def _ns(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger) for name in names]


def _foreign_key(table: str) -> Column[int]:
    return Column(f"{table[:-1]}_id", Key, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False)


# One row per path and capture. Analysing a capture again replaces its row; a new capture at the same path adds a row.
reports = Table(
    "reports", metadata,
    Column("id", Key, primary_key=True),
    Column("path", Text, nullable=False),
    Column("capture", String(20), nullable=False),  # start of the session in ns UTC, '' where the report has none
    Column("sha256", String(64), nullable=False),  # of the file as given, possibly compressed
    Column("size_bytes", BigInteger, nullable=False),
    Column("tool_version", Text, nullable=False),
    Column("method_version", Integer, nullable=False),
    Column("options", Text, nullable=False),  # non-default options of the analysis, as JSON
    Column("analysed_at", DateTime, nullable=False),
    Column("analysis_ms", BigInteger, nullable=False),
    Column("captured_at", DateTime),
    Column("nsys_version", Text),
    Column("schema_version", Text),
    Column("gpu", Text),
    Column("cpu", Text),
    Column("driver", Text),
    Column("host", Text),
    Column("traced", Text, nullable=False),  # traced APIs, joined by commas
    Column("t_sys_ns", BigInteger, nullable=False),
    Column("t_sys_source", Text, nullable=False),
    Column("outside_kernels", BigInteger, nullable=False),
    Column("outside_share", Double),
    UniqueConstraint("path", "capture"),
)  # fmt: skip

tags = Table(
    "tags", metadata,
    Column("report_id", Key, ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_tags_key_value", "key", "value"),
)  # fmt: skip

warnings = Table(
    "warnings", metadata,
    Column("id", Key, primary_key=True),
    _foreign_key("reports"),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Index("ix_warnings_report_id", "report_id"),
)  # fmt: skip

# One row per entry of `phases` in the JSON. `whole_label` marks one entry per label: the only one, or the sum of all
# threads.
phases = Table(
    "phases", metadata,
    Column("id", Key, primary_key=True),
    _foreign_key("reports"),
    Column("phase", Text, nullable=False),
    Column("process", BigInteger),
    Column("thread", BigInteger),
    Column("whole_label", Boolean, nullable=False),
    Column("instances", BigInteger, nullable=False),
    Column("wall_ns", BigInteger, nullable=False),
    Column("wall_median_ns", BigInteger),
    Column("launches_kernel", BigInteger, nullable=False),
    Column("launches_graph", BigInteger, nullable=False),
    Column("launches_memory", BigInteger, nullable=False),
    Column("launches_unmeasured_graph", BigInteger, nullable=False),
    Column("kernels", BigInteger, nullable=False),
    *_ns("device_active_ns", "device_kernel_sum_ns", "device_idle_ns"),
    *_ns("delta_ft_ns", "delta_ct_ns", "delta_kt_ns", "launch_excess_ns", "t_orchestration_ns", "t_device_active_ns"),
    Column("hdbi", Double),
    Column("hdbi_reason", Text),
    Column("evidence", Text, nullable=False),
    *_ns("library_low_ns", "library_high_ns"),
    Column("ft_includes_library", Boolean, nullable=False),
    Column("verdict_target", Text),
    Column("verdict_exposed_share", Double),
    Column("verdict_why", Text, nullable=False),
    # added in schema version 0002
    *_ns("wall_p99_ns", "range_ns", "helpers_ns", "comm_ns", "comm_wait_ns"),
    Column("device_busy_share", Double),
    Index("ix_phases_report_id", "report_id"),
    Index("ix_phases_phase", "phase"),
)  # fmt: skip

states = Table(
    "states", metadata,
    Column("phase_id", Key, ForeignKey("phases.id", ondelete="CASCADE"), primary_key=True),
    Column("state", String(20), primary_key=True),
    Column("total_ns", BigInteger, nullable=False),
    *_ns("exposed_ns", "in_os_ns"),
)  # fmt: skip

kernels = Table(
    "kernels", metadata,
    Column("id", Key, primary_key=True),
    _foreign_key("phases"),
    Column("name", Text, nullable=False),
    Column("instances", BigInteger, nullable=False),
    Column("launches", BigInteger, nullable=False),
    Column("device_share", Double),
    *_ns(*(f"device_{figure}ns" for figure in ("", "avg_", "med_", "min_", "max_"))),
    *_ns(*(f"launch_{figure}ns" for figure in ("", "avg_", "med_", "min_", "max_"))),
    *_ns("delta_ft_ns", "delta_ct_ns"),
    Column("library_mediated", Boolean),
    Column("why", Text),
    Index("ix_kernels_phase_id", "phase_id"),
)  # fmt: skip

# One row per path whose last analysis failed; deleted when an analysis succeeds.
failures = Table(
    "failures", metadata,
    Column("id", Key, primary_key=True),
    Column("path", Text, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("message", Text, nullable=False),
    Column("sha256", String(64)),
    Column("tool_version", Text, nullable=False),
    Column("failed_at", DateTime, nullable=False),
    Column("analysis_ms", BigInteger, nullable=False),
    UniqueConstraint("path"),
)  # fmt: skip
