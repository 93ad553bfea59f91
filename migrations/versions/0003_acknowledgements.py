"""Levels of timings that somebody has accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "acknowledgements",
        sa.Column("job_id", number, nullable=False),
        sa.Column("environment_id", number, nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("metric", sa.String(length=24), nullable=False),
        sa.Column("run_id", number, nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_acknowledgements_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_acknowledgements_environment_id_environments")
        ),
        sa.PrimaryKeyConstraint("job_id", "environment_id", "strategy", "metric", name=op.f("pk_acknowledgements")),
        sqlite_with_rowid=False,
    )
