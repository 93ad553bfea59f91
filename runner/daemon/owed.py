"""What a job owes when a daemon looks at it: runs that make up for missed fire times."""

from collections.abc import Container
from datetime import datetime, timedelta
from itertools import takewhile

from runner.model.jobs import Catchup, Job
from runner.model.runs import Run
from runner.schedules.fire_times import count_fire_times, fire_times, fires_only_once

# The most runs that --catchup all makes up for, the newest ones.
MAX_CATCHUP = 100


def make_up(job: Job, since: datetime, until: datetime) -> list[datetime]:
    """Give the fire times with since < time <= until for which a job wants to be run after all, oldest first."""
    match job.spec.catchup:
        case Catchup.NONE:
            return []
        case Catchup.ONCE:
            return _newest(job, since, until, 1)
        case Catchup.ALL:
            return _newest(job, since, until, MAX_CATCHUP)


def still_owed(job: Job, missed: Run, made: Container[datetime]) -> list[datetime]:
    """Give the fire times of a missed row that have not been made up for, when the daemon before this one died.

    Args:
        job: The job, whose schedule has not changed since.
        missed: The row.
        made: The fire times for which runs have been made.
    """
    assert missed.scheduled_at is not None and missed.finished_at is not None  # noqa: S101, PT018  a missed row has both
    since = missed.scheduled_at - timedelta(microseconds=1)
    return [at for at in _newest(job, since, missed.finished_at, missed.owed) if at not in made]


def _newest(job: Job, since: datetime, until: datetime, most: int) -> list[datetime]:
    """Give the newest fire times with since < time <= until, oldest first, without going through those before."""
    schedule = job.spec.schedule
    if schedule is None or most < 1:
        return []
    low, high = since, until
    while count_fire_times(schedule, job.job_id, low, until) > most:
        middle = low + (high - low) / 2
        if count_fire_times(schedule, job.job_id, middle, until) < most:
            high = middle
        else:
            low = middle
    return list(takewhile(lambda at: at <= until, fire_times(schedule, job.job_id, low)))


def fires_after(job: Job, accounted_at: datetime | None, now: datetime) -> datetime:
    """Tell after which instant a job fires.

    Args:
        job: The job.
        accounted_at: Up to when its fire times have a record; later than *now* if the clock was set back since.
        now: The clock.
    """
    since = max(job.armed_at, accounted_at or job.armed_at)
    return since if fires_only_once(job.spec.schedule, since - now) else now


def is_ahead(job: Job, accounted_at: datetime | None, now: datetime) -> bool:
    """Whether a job's fire times count from an instant that is still to come, though it fires before that."""
    return fires_after(job, accounted_at, now) < max(job.armed_at, accounted_at or job.armed_at)
