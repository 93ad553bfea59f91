"""Runs that are due as rows, and the instants of a job under their present names."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from runner.model.errors import UsageError
from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import TICK
from runner.schedules.fire_times import newest_fire_times

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    firings = op.create_table(
        "firings",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("job_id", number, nullable=False),
        sa.Column("due_at", _instant, nullable=False),
        sa.Column("cause", sa.String(length=8), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before", _instant, nullable=False),
        sa.Column("retry_of", number),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_firings_job_id_jobs")),
        sa.ForeignKeyConstraint(["retry_of"], ["runs.id"], name=op.f("fk_firings_retry_of_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint(
            "job_id", "due_at", "cause", "attempt", name=op.f("uq_firings_job_id_due_at_cause_attempt")
        ),
        sqlite_autoincrement=True,
    )
    due = [row for job in _jobs() for row in (*_waiting_retries(job), *_waiting_catch_up_runs(job))]
    if due:
        op.bulk_insert(firings, due)
    op.execute("ALTER TABLE runs DROP COLUMN owed")
    op.execute("ALTER TABLE jobs RENAME COLUMN armed_at TO schedule_start")
    op.execute("ALTER TABLE jobs RENAME COLUMN accounted_at TO recorded_until")
    op.execute("ALTER TABLE jobs RENAME COLUMN schedule_anchor_at TO interval_origin")


def _jobs() -> list[Any]:
    instants = {"armed_at": _instant, "schedule_anchor_at": _instant}
    query = sa.text("SELECT * FROM jobs WHERE removed_at IS NULL AND NOT paused AND schedule_kind IS NOT NULL")
    return list(op.get_bind().execute(query.columns(**instants)))


def _fired(job: Any, conditions: str) -> list[Any]:
    """Return the rows of a job's firings, newest first."""
    instants = {"scheduled_at": _instant, "finished_at": _instant}
    query = sa.text(f"SELECT * FROM runs WHERE job_id = :job AND cause <> 'manual' AND {conditions} ORDER BY id DESC")  # noqa: S608  constants
    return list(op.get_bind().execute(query.columns(**instants), {"job": job.id}))


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _waiting_retries(job: Any) -> list[dict[str, Any]]:
    """Return the next attempts of failed runs since the last firing by schedule."""
    last: dict[tuple[str, datetime], Any] = {}
    for row in _fired(job, "started_at IS NOT NULL"):
        last.setdefault((row.cause, row.scheduled_at), row)
        if row.cause == "schedule" and row.attempt == 1:
            break
    return [
        {
            "job_id": job.id,
            "due_at": row.scheduled_at,
            "cause": row.cause,
            "attempt": row.attempt + 1,
            "not_before": row.finished_at + timedelta(seconds=job.retry_delay_s),
            "retry_of": row.id,
        }
        for row in last.values()
        if row.status in {"failed", "timed_out"} and row.attempt <= job.retries
    ]


def _waiting_catch_up_runs(job: Any) -> list[dict[str, Any]]:
    """Return the catch-up runs that missed fire times still need."""
    missed, made, others = [], set(), 0
    for row in _fired(job, "status <> 'skipped'"):
        if row.status == "missed":
            missed += [row] if row.owed and row.scheduled_at >= job.armed_at else []
        elif row.cause == "catchup":
            made.add(row.scheduled_at)
        else:
            # One run may have waited while a missed row was written; a second one means that all was caught up.
            others += 1
            if others > 1:
                break
    schedule = Schedule(
        kind=ScheduleKind(job.schedule_kind),
        expression=job.schedule_expression,
        timezone=job.schedule_timezone,
        jitter_s=job.schedule_jitter_s,
        interval_origin=_utc(job.schedule_anchor_at),
    )
    # After the clock was set back, two rows may have the same fire times.
    times: dict[datetime, None] = {}
    for row in missed[::-1] if job.catchup == "all" else missed[:1]:
        first, last = _utc(row.scheduled_at), _utc(row.finished_at)
        with suppress(UsageError):  # the schedule's time zone is not known on this machine
            times |= dict.fromkeys(newest_fire_times(schedule, job.id, first - TICK, last, row.owed))
    stored = {_utc(at) for at in made}
    same = {"job_id": job.id, "cause": "catchup", "attempt": 1, "not_before": datetime.now(UTC), "retry_of": None}
    return [{**same, "due_at": at} for at in times if at not in stored]
