"""How often incremental scans verify themselves; calibrations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch, which would rebuild the table: adding a column is all that is needed.
    op.add_column("jobs", sa.Column("full_every_s", sa.Integer(), nullable=False, server_default=sa.text("86400")))
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "calibrations",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("selection_id", number, nullable=False),
        sa.Column("environment_id", number, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner_host", sa.Text(), nullable=True),
        sa.Column("owner_boot", sa.Text(), nullable=True),
        sa.Column("owner_pid", sa.Integer(), nullable=True),
        sa.Column("owner_started_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["selection_id"], ["selections.id"], name=op.f("fk_calibrations_selection_id_selections")
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_calibrations_environment_id_environments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_calibrations_going_on",
        "calibrations",
        ["owner_pid"],
        sqlite_where=sa.text("owner_pid IS NOT NULL"),
        postgresql_where=sa.text("owner_pid IS NOT NULL"),
    )
    op.create_table(
        "measurements",
        sa.Column("calibration_id", number, nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("question", sa.String(length=16), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("start_method", sa.String(length=16), nullable=True),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("wall_s", sa.Float(), nullable=False),
        sa.Column("startup_s", sa.Float(), nullable=False),
        sa.Column("user_s", sa.Float(), nullable=False),
        sa.Column("system_s", sa.Float(), nullable=False),
        sa.Column("max_rss_bytes", number, nullable=False),
        sa.Column("cache", sa.String(length=8), nullable=False),
        sa.Column("files", number, nullable=False),
        sa.Column("directories", number, nullable=False),
        sa.Column("entries", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["calibration_id"],
            ["calibrations.id"],
            name=op.f("fk_measurements_calibration_id_calibrations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("calibration_id", "round", "position", name=op.f("pk_measurements")),
        sqlite_with_rowid=False,
    )
