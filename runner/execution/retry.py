"""The rule for retries, used by the daemon and by everything that reports retries.

A failed run is retried after the job's delay, unless the job fires before: then that firing is the next attempt, even
if it was skipped. Manual runs change nothing. If the job is changed, its waiting retry follows the new options; a retry
that became due while the job was paused is dropped.
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
    if not _wants_retry(job, run) or schedule is None or job.spec.paused or run.finished_at is None:
        return None
    due_at = run.finished_at + timedelta(seconds=job.spec.retry_delay_s)
    if due_at < job.armed_at:
        return None
    try:
        fires_at = next_fire_time(schedule, job.job_id, max(run.finished_at, job.armed_at))
    except UsageError:  # its time zone is not known on this machine: it does not fire
        return None
    return None if fires_at is not None and fires_at <= max(due_at, now) else due_at


def list_retries(database: Reader, job: Job, now: datetime) -> list[tuple[Run, datetime]]:
    """List the failed runs of a job that have a retry, oldest first, and when it is due; see :func:`retry_at`."""
    if not job.spec.retries:
        return []
    runs = list_runs_numbered(database, list_last_attempts(database, job))
    return [(run, due_at) for run in runs if (due_at := retry_at(job, run, now)) is not None]


def is_settled(job: Job, run: Run) -> bool:
    """Return whether a run is the last attempt of its firing."""
    return run.finished_at is None or retry_at(job, run, run.finished_at) is None


def find_attempts(database: Reader, runs: Sequence[Run], now: datetime) -> Attempts:
    """Find the number of attempts of the runs' firings, and when failed ones are retried."""
    if not any(run.attempt > 1 or run.status.is_failure for run in runs):
        return Attempts()
    jobs = {job.job_id: job for job in list_jobs(database) if job.spec.retries}
    due_at = {run.run_id: retry_at(jobs[run.job_id], run, now) for run in runs if run.job_id in jobs}
    waiting = {run.job_id for run in runs if due_at.get(run.run_id) is not None}
    last = {run_id for job_id in waiting for run_id in list_last_attempts(database, jobs[job_id])}
    return Attempts(
        most={job_id: 1 + job.spec.retries for job_id, job in jobs.items()},
        again_at={run_id: at for run_id, at in due_at.items() if at is not None and run_id in last},
    )


def _wants_retry(job: Job, run: Run) -> bool:
    return run.status.is_failure and run.cause is not Cause.MANUAL and run.attempt <= job.spec.retries
