"""What a daemon that is left alone needs: retries, cancelling, notifications, accounts of fire times."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A missed row stands for every fire time from its first to the instant at which it was written.
ACCOUNTED = """
UPDATE jobs SET accounted_at = (
    SELECT MAX(CASE WHEN runs.status = 'missed' THEN runs.finished_at ELSE runs.scheduled_at END)
    FROM runs WHERE runs.job_id = jobs.id AND runs.scheduled_at IS NOT NULL
)
"""

RUN_HISTORY = """
CREATE VIEW run_history AS
SELECT
    runs.id AS run, runs.job_id AS job_id, jobs.name AS job, jobs.root AS root, runs.cause AS cause,
    runs.status AS status, runs.attempt AS attempt, runs.scheduled_at AS scheduled_at,
    runs.started_at AS started_at, runs.lateness_s AS lateness_s, runs.finished_at AS finished_at,
    runs.wall_s AS wall_s, runs.files AS files, runs.directories AS directories,
    runs.added AS added, runs.removed AS removed, runs.modified AS modified, runs.problems AS problems,
    runs.differences AS differences, runs.missed AS missed, runs.message AS message,
    environments.id AS environment_id, environments.host AS host, environments.system AS system,
    environments.machine AS machine, environments.python AS python, environments.cpus AS cpus,
    environments.filesystem AS filesystem, environments.runner_version AS runner_version
FROM runs
JOIN jobs ON jobs.id = runs.job_id
LEFT JOIN environments ON environments.id = runs.environment_id
"""


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    instant = sa.DateTime(timezone=True)
    op.add_column("jobs", sa.Column("retries", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("retry_delay_s", sa.Integer(), nullable=False, server_default=sa.text("60")))
    op.add_column("jobs", sa.Column("notify", sa.Text(), nullable=False, server_default=sa.text("'[]'")))
    op.add_column("jobs", sa.Column("accounted_at", instant))
    op.execute(ACCOUNTED)
    op.add_column("runs", sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.add_column("runs", sa.Column("lateness_s", sa.Float()))
    op.add_column("runs", sa.Column("cancel_requested_at", instant))
    op.add_column("runs", sa.Column("owed", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_table(
        "notifications",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("run_id", number, nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("started_at", instant, nullable=False),
        sa.Column("wall_s", sa.Float(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("message", sa.Text()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_notifications_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_run_id"), "notifications", ["run_id"])
    op.execute("DROP VIEW run_history")
    op.execute(RUN_HISTORY)
