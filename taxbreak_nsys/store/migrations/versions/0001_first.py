"""The first schema: reports with tags and warnings, phases, states, kernels, failures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows by itself in an INTEGER primary key alone
KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "failures",
        sa.Column("id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64)),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(), nullable=False),
        sa.Column("analysis_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
        sa.UniqueConstraint("path", name="uq_failures_path"),
    )
    op.create_table(
        "reports",
        sa.Column("id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("capture", sa.String(length=20), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("method_version", sa.Integer(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("analysed_at", sa.DateTime(), nullable=False),
        sa.Column("analysis_ms", sa.BigInteger(), nullable=False),
        sa.Column("captured_at", sa.DateTime()),
        sa.Column("nsys_version", sa.Text()),
        sa.Column("schema_version", sa.Text()),
        sa.Column("gpu", sa.Text()),
        sa.Column("cpu", sa.Text()),
        sa.Column("driver", sa.Text()),
        sa.Column("host", sa.Text()),
        sa.Column("traced", sa.Text(), nullable=False),
        sa.Column("t_sys_ns", sa.BigInteger(), nullable=False),
        sa.Column("t_sys_source", sa.Text(), nullable=False),
        sa.Column("outside_kernels", sa.BigInteger(), nullable=False),
        sa.Column("outside_share", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("path", "capture", name="uq_reports_path"),
    )
    op.create_table(
        "phases",
        sa.Column("id", KEY, nullable=False),
        sa.Column("report_id", KEY, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("process", sa.BigInteger()),
        sa.Column("thread", sa.BigInteger()),
        sa.Column("whole_label", sa.Boolean(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("wall_median_ns", sa.BigInteger()),
        sa.Column("launches_kernel", sa.BigInteger(), nullable=False),
        sa.Column("launches_graph", sa.BigInteger(), nullable=False),
        sa.Column("launches_memory", sa.BigInteger(), nullable=False),
        sa.Column("launches_unmeasured_graph", sa.BigInteger(), nullable=False),
        sa.Column("kernels", sa.BigInteger(), nullable=False),
        sa.Column("device_active_ns", sa.BigInteger()),
        sa.Column("device_kernel_sum_ns", sa.BigInteger()),
        sa.Column("device_idle_ns", sa.BigInteger()),
        sa.Column("delta_ft_ns", sa.BigInteger()),
        sa.Column("delta_ct_ns", sa.BigInteger()),
        sa.Column("delta_kt_ns", sa.BigInteger()),
        sa.Column("launch_excess_ns", sa.BigInteger()),
        sa.Column("t_orchestration_ns", sa.BigInteger()),
        sa.Column("t_device_active_ns", sa.BigInteger()),
        sa.Column("hdbi", sa.Double()),
        sa.Column("hdbi_reason", sa.Text()),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("library_low_ns", sa.BigInteger()),
        sa.Column("library_high_ns", sa.BigInteger()),
        sa.Column("ft_includes_library", sa.Boolean(), nullable=False),
        sa.Column("verdict_target", sa.Text()),
        sa.Column("verdict_exposed_share", sa.Double()),
        sa.Column("verdict_why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_phases_report_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_phases"),
    )
    op.create_index("ix_phases_phase", "phases", ["phase"])
    op.create_index("ix_phases_report_id", "phases", ["report_id"])
    op.create_table(
        "tags",
        sa.Column("report_id", KEY, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_tags_report_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("report_id", "key", name="pk_tags"),
    )
    op.create_index("ix_tags_key_value", "tags", ["key", "value"])
    op.create_table(
        "warnings",
        sa.Column("id", KEY, nullable=False),
        sa.Column("report_id", KEY, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_warnings_report_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_warnings"),
    )
    op.create_index("ix_warnings_report_id", "warnings", ["report_id"])
    op.create_table(
        "kernels",
        sa.Column("id", KEY, nullable=False),
        sa.Column("phase_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("launches", sa.BigInteger(), nullable=False),
        sa.Column("device_share", sa.Double()),
        sa.Column("device_ns", sa.BigInteger()),
        sa.Column("device_avg_ns", sa.BigInteger()),
        sa.Column("device_med_ns", sa.BigInteger()),
        sa.Column("device_min_ns", sa.BigInteger()),
        sa.Column("device_max_ns", sa.BigInteger()),
        sa.Column("launch_ns", sa.BigInteger()),
        sa.Column("launch_avg_ns", sa.BigInteger()),
        sa.Column("launch_med_ns", sa.BigInteger()),
        sa.Column("launch_min_ns", sa.BigInteger()),
        sa.Column("launch_max_ns", sa.BigInteger()),
        sa.Column("delta_ft_ns", sa.BigInteger()),
        sa.Column("delta_ct_ns", sa.BigInteger()),
        sa.Column("library_mediated", sa.Boolean()),
        sa.Column("why", sa.Text()),
        sa.ForeignKeyConstraint(["phase_id"], ["phases.id"], name="fk_kernels_phase_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_kernels"),
    )
    op.create_index("ix_kernels_phase_id", "kernels", ["phase_id"])
    op.create_table(
        "states",
        sa.Column("phase_id", KEY, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("total_ns", sa.BigInteger(), nullable=False),
        sa.Column("exposed_ns", sa.BigInteger()),
        sa.Column("in_os_ns", sa.BigInteger()),
        sa.ForeignKeyConstraint(["phase_id"], ["phases.id"], name="fk_states_phase_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("phase_id", "state", name="pk_states"),
    )
