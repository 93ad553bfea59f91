"""Missed fire times: their record, and the catch-up runs for them."""

import logging
from collections.abc import Container
from datetime import datetime
from itertools import takewhile

from runner.daemon.pending_writes import PendingWrites
from runner.history.database import Database
from runner.history.runs import list_unmade
from runner.model.jobs import Catchup, Job
from runner.model.runs import Run, Status
from runner.model.units import TICK, format_count
from runner.schedules.fire_times import count_fire_times, fire_times, next_fire_time

_log = logging.getLogger(__name__)

# The most catch-up runs of --catchup all, for the newest fire times.
MAX_CATCHUP = 100


def record_missed(writes: PendingWrites, job: Job, since: datetime, until: datetime, reason: str) -> list[datetime]:
    """Record the fire times in (since, until] as one missed row; return those to catch up, oldest first."""
    schedule = job.spec.schedule
    first = next_fire_time(schedule, job.job_id, since) if schedule is not None else None
    missed = count_fire_times(schedule, job.job_id, since, until) if schedule is not None else 0
    if not missed or first is None:
        return []
    times = catch_up_times(job, since, until)
    message = f"{format_count(missed, 'fire time')} passed while {reason}"
    writes.record(
        job,
        status=Status.MISSED,
        scheduled_at=first,
        now=until,  # the row covers all fire times up to then
        message=message,
        missed=missed,
        owed=len(times),
    )
    _log.warning("%s", message)
    return times


def catch_up_earlier_daemon(
    database: Database, writes: PendingWrites, job: Job, since: datetime, now: datetime
) -> list[datetime]:
    """Record the fire times in (since, now] as missed; return what this and the earlier daemon left to catch up."""
    rows, done = list_unmade(database, job)
    catch_all = job.spec.catchup is Catchup.ALL
    earlier = [at for row in (rows if catch_all else rows[-1:]) for at in pending_times(job, row, done)]
    missed = record_missed(writes, job, since, now, "no daemon ran")
    return (earlier + missed)[-MAX_CATCHUP:] if catch_all else missed or earlier


def catch_up_times(job: Job, since: datetime, until: datetime) -> list[datetime]:
    """Return the fire times in (since, until] for which a job wants catch-up runs, oldest first."""
    most = {Catchup.NONE: 0, Catchup.ONCE: 1, Catchup.ALL: MAX_CATCHUP}[job.spec.catchup]
    return _newest(job, since, until, most)


def pending_times(job: Job, missed: Run, done: Container[datetime]) -> list[datetime]:
    """Return the fire times of a missed row that have no catch-up run in *done* yet."""
    if missed.scheduled_at is None or missed.finished_at is None:
        return []
    return [at for at in _newest(job, missed.scheduled_at - TICK, missed.finished_at, missed.owed) if at not in done]


def _newest(job: Job, since: datetime, until: datetime, most: int) -> list[datetime]:
    """Return the newest fire times in (since, until], oldest first, without visiting the earlier ones."""
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
