"""What a job owes when a daemon looks at it: runs that make up for missed fire times."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, takewhile

from runner.model.jobs import Catchup, Job, ScheduleKind
from runner.model.runs import Run
from runner.model.units import parse_duration
from runner.schedules.cron import load_cron
from runner.schedules.firing import count_fire_times, fire_times, last_fire_time

# The most runs that --catchup all makes up for, the newest ones.
MAX_CATCHUP = 100
# Steps of the clock below this are corrections of a clock that was wrong, in which what has fired does not fire again,
# as in Debian's cron.
_CORRECTION = timedelta(hours=3)


def make_up(job: Job, since: datetime, until: datetime) -> list[datetime]:
    """Give the fire times with since < time <= until for which a job wants to be run after all, oldest first."""
    schedule = job.spec.schedule
    if schedule is None or job.spec.catchup is Catchup.NONE:
        return []
    if job.spec.catchup is Catchup.ALL:
        low, high = since, until
        # Where the newest of them begin is sought by halving: there may be millions before.
        while count_fire_times(schedule, job.job_id, low, until) > MAX_CATCHUP:
            middle = low + (high - low) / 2
            if count_fire_times(schedule, job.job_id, middle, until) < MAX_CATCHUP:
                high = middle
            else:
                low = middle
        return list(takewhile(lambda at: at <= until, fire_times(schedule, job.job_id, low)))
    last = last_fire_time(schedule, job.job_id, since, until)
    return [last] if last is not None else []


def still_owed(job: Job, missed: Run, made_up: int) -> list[datetime]:
    """Give the fire times of a missed row that have not been made up for, when the daemon before this one died.

    Args:
        job: The job.
        missed: Its row.
        made_up: How many runs have begun since to make up for it.
    """
    assert missed.scheduled_at is not None and missed.finished_at is not None  # noqa: S101, PT018  a missed row has both
    tick = timedelta(microseconds=1)
    # What another schedule has missed is no fire time of the present one.
    since = max(missed.scheduled_at - tick, job.armed_at)
    return list(islice(make_up(job, since, missed.finished_at), made_up, None))


def fires_after(job: Job, accounted_at: datetime | None, now: datetime) -> datetime:
    """Tell after which instant a job fires.

    Args:
        job: The job.
        accounted_at: Up to when its fire times have a record; later than *now* if the clock was set back since.
        now: The clock.
    """
    since = max(job.armed_at, accounted_at or job.armed_at)
    return since if since <= now or _fires_once(job, since - now) else now


def reach_back(job: Job, now: datetime) -> Job:
    """Let a job's intervals be counted from before now, in phase, when the clock was set back past its registration."""
    schedule = job.spec.schedule
    if schedule is None or schedule.kind is not ScheduleKind.EVERY or schedule.anchor_at <= now:
        return job
    interval = timedelta(seconds=parse_duration(schedule.expression))
    anchor_at = schedule.anchor_at - math.ceil((schedule.anchor_at - now) / interval) * interval
    return replace(job, spec=replace(job.spec, schedule=replace(schedule, anchor_at=anchor_at)))


def _fires_once(job: Job, set_back: timedelta) -> bool:
    """Whether what has fired does not fire again when the clock, set back, comes by a second time."""
    schedule = job.spec.schedule
    if schedule is None or schedule.kind is ScheduleKind.AT:
        return True
    names_times = schedule.kind is ScheduleKind.CRON and load_cron(schedule.expression).follows_clock
    return names_times and set_back < _CORRECTION
