"""Jumps of the system clock: noticed and followed."""

import logging
import time
from datetime import UTC, datetime

from runner.daemon.pending_writes import PendingWrites
from runner.daemon.scheduler import JobScheduler
from runner.history.database import Database
from runner.history.jobs import list_jobs, list_recorded_until, set_back
from runner.history.retries import shorten_waits
from runner.model.jobs import Job
from runner.model.units import format_seconds
from runner.schedules.fire_times import LATE, fires_only_once

_log = logging.getLogger(__name__)


class ClockWatch:
    """Restarts the schedules when the clock is set back; APScheduler waits by the clock of the time before."""

    def __init__(self, database: Database, scheduler: JobScheduler, pending_writes: PendingWrites) -> None:
        self._database = database
        self._scheduler = scheduler
        self._pending_writes = pending_writes
        # The largest offset since the clock was last followed back: small steps add up.
        self._max_offset_s = _clock_offset_s()
        # The clock when it was set back, until that is followed.
        self._set_back_to: datetime | None = None

    def check(self) -> None:
        """Follow the clock, which may have been set; wake the scheduler, as the machine may have slept.

        Raises:
            HistoryError: If the database can't be used; the next check follows the clock.
        """
        try:
            offset_s = _clock_offset_s()
            if offset_s < self._max_offset_s - LATE.total_seconds():
                self._restart_schedules(self._max_offset_s - offset_s)
                self._max_offset_s = offset_s
            self._max_offset_s, self._set_back_to = max(offset_s, self._max_offset_s), None
        finally:
            self._scheduler.wakeup()

    def _restart_schedules(self, by_s: float) -> None:
        """Fire all jobs by the clock from the moment when it was set back, even if that is noticed later."""
        now = datetime.now(UTC)
        if self._set_back_to is None:
            _log.warning("the clock was set back by %s; jobs fire by it from now on", format_seconds(by_s))
        since = self._set_back_to = min(now, self._set_back_to or now)
        self._pending_writes.write()  # a pending write does not count as recorded
        shorten_waits(self._database, now)
        jobs, recorded = list_recorded_jobs(self._database, since)
        self._scheduler.sync(
            jobs, lambda job: max(since, fires_after(job, recorded.get(job.job_id), since)), restart=True
        )


def list_recorded_jobs(database: Database, now: datetime) -> tuple[list[Job], dict[int, datetime]]:
    """Return the jobs, and by job number the instant up to which the fire times have a record."""
    jobs, recorded = list_jobs(database), list_recorded_until(database)
    ahead = {
        job.job_id
        for job in jobs
        if fires_after(job, recorded.get(job.job_id), now) < _recorded_until(job, recorded.get(job.job_id))
    }
    if ahead:
        # Otherwise fire times missed until the clock has caught up would have no record.
        set_back(database, ahead, now)
        return list_recorded_jobs(database, now)
    return jobs, recorded


def fires_after(job: Job, recorded_at: datetime | None, now: datetime) -> datetime:
    """Return the instant after which a job fires.

    Args:
        job: The job.
        recorded_at: Up to when its fire times have a record; later than *now* if the clock was set back since.
        now: The clock.
    """
    since = _recorded_until(job, recorded_at)
    return since if fires_only_once(job.spec.schedule, since - now) else now


def _recorded_until(job: Job, recorded_at: datetime | None) -> datetime:
    return max(job.schedule_start, recorded_at or job.schedule_start)


def _clock_offset_s() -> float:
    """Return by how much the clock is ahead of the monotonic one, which nobody sets."""
    return time.time() - time.monotonic()
