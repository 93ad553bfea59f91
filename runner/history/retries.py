"""The rule for retries: a retry is a row of ``firings``, added in the transaction that records the failed run.

A failed run is retried after the job's delay, unless the job fires before: then that firing is the next attempt, even
if it was skipped. Manual runs change nothing. If the job is changed, its waiting retry follows the new options; a retry
that became due while the job was paused is dropped.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from runner.history.database import Database, Reader, View
from runner.history.jobs import get_job_numbered, list_jobs
from runner.history.runs import get_run
from runner.history.tables import firings, jobs
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Attempts, Cause, Run


def retry_at(job: Job, run: Run, now: datetime) -> datetime | None:
    """Return when a run, the last attempt of its firing, is retried.

    Args:
        job: The job as it is now.
        run: The run.
        now: Aware; until the job fires, a due retry may wait for a daemon or for other runs.

    Returns:
        Aware UTC, in the past for a retry that still waits; None if there is no retry.
    """
    from runner.schedules.fire_times import next_fire_time  # loads the cron parser, and few runs fail

    schedule = job.spec.schedule
    wanted = run.status.is_failure and run.cause is not Cause.MANUAL and run.attempt <= job.spec.retries
    if not wanted or schedule is None or job.spec.paused or run.finished_at is None:
        return None
    due_at = run.finished_at + timedelta(seconds=job.spec.retry_delay_s)
    if due_at < job.schedule_start:
        return None
    try:
        fires_at = next_fire_time(schedule, job.job_id, max(run.finished_at, job.schedule_start))
    except UsageError:  # its time zone is not known on this machine: it does not fire
        return None
    return None if fires_at is not None and fires_at <= max(due_at, now) else due_at


def is_settled(job: Job, run: Run) -> bool:
    """Return whether a run is the last attempt of its firing."""
    return run.finished_at is None or retry_at(job, run, run.finished_at) is None


def add_retry(database: Database, connection: Connection, run_id: int) -> None:
    """Add the retry of a run that has just failed, if it has one, in the transaction of *connection*."""
    view = View(database.location, connection)
    run = get_run(view, run_id)
    job = get_job_numbered(view, run.job_id)
    if job.removed_at is not None or run.finished_at is None:
        return
    not_before = retry_at(job, run, run.finished_at)
    if not_before is not None:
        key = {
            firings.c.job_id: run.job_id,
            firings.c.due_at: run.scheduled_at,
            firings.c.cause: run.cause.value,
            firings.c.attempt: run.attempt + 1,
        }
        # After the clock was set back, a retry for the same fire time may still be waiting from the first time.
        connection.execute(delete(firings).where(*(column == value for column, value in key.items())))
        connection.execute(
            insert(firings).values({**key, firings.c.not_before: not_before, firings.c.retry_of: run_id})
        )


def shorten_waits(database: Database, now: datetime) -> None:
    """Make firings due now and retries after their delay: the clock may have been set back since they were added."""
    waiting = (
        select(firings.c.id, firings.c.not_before, firings.c.attempt, jobs.c.retry_delay_s)
        .join(jobs, firings.c.job_id == jobs.c.id)
        .where(firings.c.not_before > now)
    )
    with database.write() as connection:
        for row in connection.execute(waiting).all():
            latest = now + timedelta(seconds=row.retry_delay_s if row.attempt > 1 else 0)
            if row.not_before > latest:
                connection.execute(update(firings).where(firings.c.id == row.id).values(not_before=latest))


def find_attempts(database: Reader, runs: Sequence[Run], now: datetime) -> Attempts:
    """Find the number of attempts of the runs' firings, and when failed ones are retried."""
    if not any(run.attempt > 1 or run.status.is_failure for run in runs):
        return Attempts()
    with database.read() as connection:
        retried = set(connection.execute(select(firings.c.retry_of)).scalars())
    by_id = {job.job_id: job for job in list_jobs(database) if job.spec.retries}
    return Attempts(
        most={job_id: 1 + job.spec.retries for job_id, job in by_id.items()},
        again_at={
            run.run_id: at
            for run in runs
            if run.run_id in retried and run.job_id in by_id and (at := retry_at(by_id[run.job_id], run, now))
        },
    )
