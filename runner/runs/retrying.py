"""Whether a failed run is tried again, and when."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from runner.history.database import Database
from runner.history.jobs import list_jobs
from runner.history.runs import list_last_runs
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Attempts, Cause, Run, Status

_FAILED = {Status.FAILED, Status.TIMED_OUT}


def wants_retry(job: Job, run: Run) -> bool:
    """Whether a run is to be tried again."""
    return run.status in _FAILED and run.cause is not Cause.MANUAL and run.attempt <= job.spec.retries


def is_settled(job: Job, run: Run) -> bool:
    """Whether how a run ended is how its firing ended: no retry of it follows.

    None does when the job fires again before the retry is due, which then is the next attempt.
    """
    return run.finished_at is None or _again_at(job, run, run.finished_at) is None


def find_attempts(database: Database, runs: Sequence[Run], now: datetime) -> Attempts:
    """Find out how often the firings of runs are tried, and when those that have failed are tried again.

    Args:
        database: Where they are remembered.
        runs: The runs.
        now: Now; aware.
    """
    if not any(run.attempt > 1 or run.status in _FAILED for run in runs):
        return Attempts()
    jobs = {job.job_id: job for job in list_jobs(database) if job.spec.retries}
    wanting = [run for run in runs if run.job_id in jobs and wants_retry(jobs[run.job_id], run)]
    # What another run of the job has followed is not tried again any more.
    last = list_last_runs(database) if wanting else {}
    again = {
        run.run_id: _again_at(jobs[run.job_id], run, now) for run in wanting if last[run.job_id].run_id == run.run_id
    }
    return Attempts(
        most={job_id: 1 + job.spec.retries for job_id, job in jobs.items()},
        again_at={run_id: at for run_id, at in again.items() if at is not None},
    )


def _again_at(job: Job, run: Run, now: datetime) -> datetime | None:
    """Tell when a run is to be tried again, unless the job has fired by then, or by now; None if it is not."""
    from runner.schedules.firing import next_fire_time  # reading cron takes a while, and seldom does a run fail

    schedule = job.spec.schedule
    if not wants_retry(job, run) or schedule is None or job.spec.paused or run.finished_at is None:
        return None
    again_at = run.finished_at + timedelta(seconds=job.spec.retry_delay_s)
    try:
        fires_at = next_fire_time(schedule, job.job_id, run.finished_at)
    except UsageError:  # its zone is not known on this machine, so that it does not fire at all
        return None
    return None if fires_at is not None and fires_at <= max(again_at, now) else again_at
