"""APScheduler, kept in step with the jobs table, which is the truth.

The scheduler's own thread only says what is due: a job store or an executor that touched the database there would end
that thread silently when the database is locked.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.subject import log_context
from runner.schedules.trigger import ScheduleTrigger

_log = logging.getLogger(__name__)

Due = Callable[[int, datetime, datetime], None]


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler 3 has no types
    """A scheduler that tells when it last looked what is due.

    Attributes:
        looked_s: By ``time.monotonic``.
    """

    looked_s = 0.0

    def _process_jobs(self) -> float | None:
        wait_s: float | None = super()._process_jobs()
        self.looked_s = time.monotonic()
        return wait_s


class Timetable:
    """The jobs that fire, and when.

    Args:
        due: Called on the scheduler's thread with a job's number and the first and the last of its fire times that
            have come, which differ when some were slept through; must return at once.
    """

    def __init__(self, due: Due) -> None:
        self._scheduler = _Scheduler(
            timezone=UTC,
            jobstores={"default": MemoryJobStore()},
            executors={"default": _Messenger(due)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._jobs: dict[int, Job] = {}

    def start(self) -> None:
        """Begin to fire."""
        self._scheduler.start()

    def stop(self) -> None:
        """Fire no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    @property
    def looked_s(self) -> float:
        """When it last looked what is due, by ``time.monotonic``; a thread that has ended or hangs looks no more."""
        return self._scheduler.looked_s

    def wake(self) -> None:
        """Look at the clock now, which may have been set, or the machine may have slept."""
        self._scheduler.wakeup()

    def follow(self, jobs: Sequence[Job], after: Callable[[Job], datetime], *, anew: bool = False) -> None:
        """Take over the jobs as they are now; those that go on firing are found at any moment meanwhile.

        Args:
            jobs: All jobs.
            after: Gives the instant after which a new or changed job fires.
            anew: Whether all of them are as good as new.
        """
        firing = {job.job_id: job for job in jobs if job.spec.schedule is not None and not job.spec.paused}
        for job_id in self._jobs.keys() - firing.keys():
            self._remove(job_id)
            del self._jobs[job_id]
        for job_id, job in firing.items():
            known = self._jobs.get(job_id)
            if anew or known is None or (job.spec.schedule, job.armed_at) != (known.spec.schedule, known.armed_at):
                self._remove(job_id)
                try:
                    self._add(job, after(job))
                except UsageError as error:  # its zone is not known on this machine
                    with log_context(job.spec.name):
                        _log.error("can't be fired: %s", error)
                    self._jobs.pop(job_id, None)
                    continue
            self._jobs[job_id] = job

    def _remove(self, job_id: int) -> None:
        with suppress(JobLookupError):  # new, or one that fires no more, which removes itself
            self._scheduler.remove_job(_key(job_id))

    def _add(self, job: Job, after: datetime) -> None:
        assert job.spec.schedule is not None  # noqa: S101  only those that fire are followed
        trigger = ScheduleTrigger(job.spec.schedule, job.job_id, after)
        if trigger.get_next_fire_time(None, datetime.now(UTC)) is not None:
            self._scheduler.add_job(_never_called, trigger, id=_key(job.job_id))

    def find_job(self, job_id: int) -> Job | None:
        """Find a job that fires, as it is now."""
        return self._jobs.get(job_id)


class _Messenger(BaseExecutor):  # type: ignore[misc]  # APScheduler 3 has no types
    """An executor that passes on what is due with its fire time, which APScheduler does not tell a job's function.

    Whether a job's last run is still going is decided by whoever carries it out, not by a count kept here.
    """

    def __init__(self, due: Due) -> None:
        super().__init__()
        self._due = due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Pass on the first and the last fire time; with coalescing, *run_times* has only the last."""
        self._due(int(job.id), job.next_run_time, run_times[-1])

    def _do_submit_job(self, _job: Any, _run_times: list[datetime]) -> None:
        raise AssertionError("submit_job does not call this")


def _key(job_id: int) -> str:
    # Of jobs that are due at the same time the job store gives the one with the lower text first.
    return f"{job_id:019d}"


def _never_called() -> None:
    """Stand for a job's work, which the messenger passes on instead."""
