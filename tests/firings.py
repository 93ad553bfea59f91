"""Firings and rows without a run, added to a history by tests."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, update

from runner.history.database import Database
from runner.history.recording import record_not_run
from runner.history.rows import insert_row
from runner.history.tables import firings, jobs
from runner.model.jobs import Job
from runner.model.runs import Cause, Firing, Status


def add_due(
    database: Database,
    job: Job,
    due_at: datetime | None,
    *,
    cause: Cause = Cause.SCHEDULE,
    attempt: int = 1,
    retry_of: int | None = None,
) -> Firing | None:
    """Add a firing; without a fire time return None, which stands for a manual run."""
    if due_at is None or cause is Cause.MANUAL:
        return None
    values: dict[str, Any] = {"job_id": job.job_id, "due_at": due_at, "attempt": attempt, "retry_of": retry_of}
    key = {name: value for name, value in values.items() if name != "retry_of"} | {"cause": cause.value}
    with database.write() as connection:
        connection.execute(delete(firings).where(*(firings.c[name] == value for name, value in key.items())))
        firing_id = insert_row(connection, firings, {**values, "cause": cause.value, "not_before": due_at})
        if cause is Cause.SCHEDULE and attempt == 1:
            connection.execute(update(jobs).where(jobs.c.id == job.job_id).values(recorded_until=due_at))
    return Firing(firing_id=firing_id, cause=cause, not_before=due_at, **values)


def add_not_run(
    database: Database, job: Job, status: Status, at: datetime, *, now: datetime, message: str = "", missed: int = 0
) -> int:
    """Add a skipped or missed row; return its number."""
    with database.write() as connection:
        return record_not_run(connection, job, status, at, now=now, message=message, missed=missed)
