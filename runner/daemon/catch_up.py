"""Fire times that passed without a run, and those of them to catch up."""

from datetime import datetime

from runner.history.firings import MAX_CATCHUP, Gap
from runner.model.jobs import Catchup, Job
from runner.schedules.fire_times import count_fire_times, newest_fire_times, next_fire_time


def find_gap(job: Job, since: datetime, until: datetime, reason: str) -> Gap | None:
    """Return the fire times in (since, until] as one gap; None if there are none."""
    schedule = job.spec.schedule
    first = next_fire_time(schedule, job.job_id, since) if schedule is not None else None
    count = count_fire_times(schedule, job.job_id, since, until) if schedule is not None else 0
    if first is None or not count:
        return None
    return Gap(first=first, until=until, count=count, reason=reason, catch_up=catch_up_times(job, since, until))


def catch_up_times(job: Job, since: datetime, until: datetime) -> list[datetime]:
    """Return the fire times in (since, until] for which a job wants catch-up runs, oldest first."""
    if job.spec.schedule is None:
        return []
    most = {Catchup.NONE: 0, Catchup.ONCE: 1, Catchup.ALL: MAX_CATCHUP}[job.spec.catchup]
    return newest_fire_times(job.spec.schedule, job.job_id, since, until, most)
