"""Whether a failed run is tried again, and when: the one rule by which the daemon acts and of which it is told.

A run that failed is tried again after the job's delay, unless the job fires before: then that is the next attempt, even
if it was skipped. What runs by hand meanwhile changes nothing about that. The job may be changed while a retry waits,
which then goes by the job as it is; but what came due while it was paused is not made up for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from runner.history.database import Reader
from runner.history.jobs import list_jobs
from runner.history.runs import list_last_attempts, list_runs_numbered
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Attempts, Cause, Run


def retry_at(job: Job, run: Run, now: datetime) -> datetime | None:
    """Tell when a run, the last attempt of its firing, is to be tried again.

    Args:
        job: The job as it is.
        run: The run.
        now: Now; aware. A retry may wait for a daemon, or for other runs, until the job fires.

    Returns:
        Aware UTC, past for one that still waits; None if it is not tried again.
    """
    from runner.schedules.fire_times import next_fire_time  # reading cron takes a while, and seldom does a run fail

    schedule = job.spec.schedule
    if not _wants_retry(job, run) or schedule is None or job.spec.paused or run.finished_at is None:
        return None
    again_at = run.finished_at + timedelta(seconds=job.spec.retry_delay_s)
    if again_at < job.armed_at:
        return None
    try:
        fires_at = next_fire_time(schedule, job.job_id, max(run.finished_at, job.armed_at))
    except UsageError:  # its zone is not known on this machine, so that it does not fire at all
        return None
    return None if fires_at is not None and fires_at <= max(again_at, now) else again_at


def list_retries(database: Reader, job: Job, now: datetime) -> list[tuple[Run, datetime]]:
    """List the failed runs of a job that are to be tried again, oldest first, and when; see :func:`retry_at`."""
    if not job.spec.retries:
        return []
    runs = list_runs_numbered(database, list_last_attempts(database, job))
    return [(run, again_at) for run in runs if (again_at := retry_at(job, run, now)) is not None]


def is_settled(job: Job, run: Run) -> bool:
    """Whether how a run ended is how its firing ended: no retry of it follows."""
    return run.finished_at is None or retry_at(job, run, run.finished_at) is None


def find_attempts(database: Reader, runs: Sequence[Run], now: datetime) -> Attempts:
    """Find out how often the firings of runs are tried, and when those that have failed are tried again.

    Args:
        database: Where they are remembered.
        runs: The runs.
        now: Now; aware.
    """
    if not any(run.attempt > 1 or run.status.is_failure for run in runs):
        return Attempts()
    jobs = {job.job_id: job for job in list_jobs(database) if job.spec.retries}
    at = {run.run_id: retry_at(jobs[run.job_id], run, now) for run in runs if run.job_id in jobs}
    waiting = {run.job_id for run in runs if at.get(run.run_id) is not None}
    last = {run_id for job_id in waiting for run_id in list_last_attempts(database, jobs[job_id])}
    return Attempts(
        most={job_id: 1 + job.spec.retries for job_id, job in jobs.items()},
        again_at={run_id: again_at for run_id, again_at in at.items() if again_at is not None and run_id in last},
    )


def _wants_retry(job: Job, run: Run) -> bool:
    return run.status.is_failure and run.cause is not Cause.MANUAL and run.attempt <= job.spec.retries
