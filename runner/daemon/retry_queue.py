"""The retry queue: firings to submit after a delay."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from runner.daemon.workers import Firing, Workers
from runner.execution.retry import list_retries
from runner.history.database import Database
from runner.model.jobs import Job
from runner.model.runs import Cause

# How soon a firing that could not be submitted is submitted again.
RETRY_INTERVAL_S = 0.5


class RetryQueue:
    """Retries of failed runs, and firings that met a manual run of their job; used by one thread.

    A firing is due by the system clock or by the monotonic one, whichever comes first: the first may be set, and the
    second stands still while the machine sleeps.
    """

    def __init__(self, database: Database, workers: Workers, find_job: Callable[[int], Job | None]) -> None:
        self._database = database
        self._workers = workers
        self._find_job = find_job
        self._due: dict[tuple[int, Cause, datetime], tuple[float, datetime, Firing]] = {}

    def put(self, firing: Firing, delay_s: float = RETRY_INTERVAL_S) -> None:
        """Submit a firing after a delay; replaces its earlier entry."""
        due_at = datetime.now(UTC) + timedelta(seconds=delay_s)
        self._due[_key(firing)] = (time.monotonic() + delay_s, due_at, firing)

    def schedule_retries(self, job: Job, now: datetime) -> None:
        """Put the next attempts of a job's failed runs."""
        for failed, retry_at in list_retries(self._database, job, now):
            if failed.scheduled_at is not None:
                # More would be left of the delay if the clock was set back since.
                delay_s = min(float(job.spec.retry_delay_s), (retry_at - now).total_seconds())
                self.put(Firing(job, failed.cause, [failed.scheduled_at], failed), delay_s)

    def list_due(self) -> list[Firing]:
        """Return the due firings in the order in which they were put."""
        now_s, now = time.monotonic(), datetime.now(UTC)
        return [firing for due_s, due_at, firing in self._due.values() if now_s >= due_s or now >= due_at]

    def submit(self, firing: Firing) -> None:
        """Submit a due firing to the workers unless its failed run has no retry any more."""
        self.put(firing)  # an error, or a firing of the same job that is not finished, postpones it
        if self._workers.is_active(firing.job.job_id):
            return
        if not self._is_wanted(firing) or self._workers.submit(firing):
            del self._due[_key(firing)]

    def _is_wanted(self, firing: Firing) -> bool:
        if firing.failed is None:
            return True
        job = self._find_job(firing.job.job_id)
        retries = list_retries(self._database, job, datetime.now(UTC)) if job is not None else []
        return any(failed.run_id == firing.failed.run_id for failed, _ in retries)

    def next_s(self) -> float:
        """Return when the next firing is due by ``time.monotonic``; infinite if none is."""
        return min((due_s for due_s, _, _ in self._due.values()), default=math.inf)


def _key(firing: Firing) -> tuple[int, Cause, datetime]:
    return firing.job.job_id, firing.cause, firing.times[0]
