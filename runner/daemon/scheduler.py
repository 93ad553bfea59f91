"""APScheduler, synchronised with the jobs table, which is authoritative.

Its thread only reports what is due: a job store or an executor that used the database there would end that thread
silently when the database is locked.
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

OnDue = Callable[[Job, datetime, datetime], None]


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler 3 has no types
    last_check_s = 0.0

    def _process_jobs(self) -> float | None:
        wait_s: float | None = super()._process_jobs()
        self.last_check_s = time.monotonic()
        return wait_s


class JobScheduler:
    """The jobs that fire, and when.

    Args:
        on_due: Called on the scheduler's thread with a job, as it was when its schedule started here, and the first and
            the last of its fire times that have come, which differ if the machine slept. Must return at once.
    """

    def __init__(self, on_due: OnDue) -> None:
        self._scheduler = _Scheduler(
            timezone=UTC,
            jobstores={"default": MemoryJobStore()},
            executors={"default": _ReportingExecutor(on_due)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._jobs: dict[int, Job] = {}

    def start(self) -> None:
        """Start firing."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop firing."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    @property
    def last_check_s(self) -> float:
        """When it last checked what is due, by ``time.monotonic``; stands still once its thread has ended or hangs."""
        return self._scheduler.last_check_s

    def wakeup(self) -> None:
        """Check now what is due: the clock may have been set, or the machine may have slept."""
        self._scheduler.wakeup()

    def find_job(self, job_id: int) -> Job | None:
        """Find a job that fires, as it is now; None if it was removed or paused."""
        return self._jobs.get(job_id)

    def sync(self, jobs: Sequence[Job], after: Callable[[Job], datetime], *, restart: bool = False) -> None:
        """Follow the jobs table; :meth:`find_job` finds an unchanged job at any moment of it.

        Args:
            jobs: All jobs.
            after: Returns the instant after which a new or changed job fires.
            restart: Whether to restart unchanged schedules as well.
        """
        firing = {job.job_id: job for job in jobs if job.spec.schedule is not None and not job.spec.paused}
        for job_id in self._jobs.keys() - firing.keys():
            self._remove(job_id)
            del self._jobs[job_id]
        for job_id, job in firing.items():
            known = self._jobs.get(job_id)
            if (
                restart
                or known is None
                or (job.spec.schedule, job.schedule_start) != (known.spec.schedule, known.schedule_start)
            ):
                self._remove(job_id)
                try:
                    self._add(job, after(job))
                except UsageError as error:  # its time zone is not known on this machine
                    with log_context(job.spec.name):
                        _log.error("can't be fired: %s", error)
                    self._jobs.pop(job_id, None)
                    continue
            self._jobs[job_id] = job

    def _remove(self, job_id: int) -> None:
        with suppress(JobLookupError):  # a new job, or one without further fire times, which removes itself
            self._scheduler.remove_job(_key(job_id))

    def _add(self, job: Job, after: datetime) -> None:
        assert job.spec.schedule is not None  # noqa: S101  only jobs with a schedule fire
        trigger = ScheduleTrigger(job.spec.schedule, job.job_id, after)
        if trigger.get_next_fire_time(None, datetime.now(UTC)) is not None:
            self._scheduler.add_job(_do_nothing, trigger, [job], id=_key(job.job_id))


class _ReportingExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler 3 has no types
    """An executor that reports the fire times, which APScheduler does not pass to a job's function.

    It counts no instances: the workers know whether the job's previous run is still running.
    """

    def __init__(self, on_due: OnDue) -> None:
        super().__init__()
        self._on_due = on_due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Report the first and the last fire time; with coalescing, *run_times* has only the last."""
        self._on_due(job.args[0], job.next_run_time, run_times[-1])

    def _do_submit_job(self, _job: Any, _run_times: list[datetime]) -> None:
        raise AssertionError("submit_job does not call this")


def _key(job_id: int) -> str:
    # The job store orders jobs that are due at the same time by this text.
    return f"{job_id:019d}"


def _do_nothing(_job: Job) -> None:
    """Fire; the executor reports the fire time instead."""
