"""Whether a failed run is tried again."""

from datetime import timedelta

from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Cause, Run, Status
from runner.schedules.firing import next_fire_time


def wants_retry(job: Job, run: Run) -> bool:
    """Whether a run is to be tried again."""
    failed = run.status in {Status.FAILED, Status.TIMED_OUT}
    return failed and run.cause is not Cause.MANUAL and run.attempt <= job.spec.retries


def is_settled(job: Job, run: Run) -> bool:
    """Whether how a run ended is how its firing ended: no retry of it follows.

    None does when the job fires again before the retry is due, which then is the next attempt.
    """
    if not wants_retry(job, run):
        return True
    schedule = job.spec.schedule
    if schedule is None or job.spec.paused or run.finished_at is None:
        return True
    try:
        fires_at = next_fire_time(schedule, job.job_id, run.finished_at)
    except UsageError:  # its zone is not known on this machine, so that it does not fire at all
        return True
    return fires_at is not None and fires_at <= run.finished_at + timedelta(seconds=job.spec.retry_delay_s)
