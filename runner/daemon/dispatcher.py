"""From fire times to runs: each fire time becomes a row of ``firings``, and each idle worker gets the oldest row.

Catch-up runs begin while no other row waits.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from runner.daemon.catch_up import find_gap
from runner.daemon.firing_runner import FiringRunner
from runner.daemon.guard import guarded
from runner.daemon.pending_writes import PendingWrites
from runner.daemon.scheduler import JobScheduler
from runner.daemon.shutdown import Shutdown
from runner.daemon.workers import Workers
from runner.execution.recovery import recover
from runner.history.database import Database
from runner.history.firings import add_firing, find_next_firing, record_gap, skip_firing
from runner.history.jobs import get_job_numbered, jobs_revision
from runner.history.recording import Busy
from runner.history.retries import retry_at
from runner.history.runs import get_run
from runner.model.jobs import Job
from runner.model.runs import Cause, Firing
from runner.model.units import TICK, format_instant
from runner.schedules.fire_times import LATE

_log = logging.getLogger(__name__)


class Dispatcher:
    """Records what is due and submits it to the workers; used by the daemon's thread.

    Args:
        database: The daemon's database.
        scheduler: The jobs that fire.
        writes: Receives what can't be written now.
        runner: Runs a firing on a worker thread.
        workers: The worker threads.
        shutdown: After its request nothing starts.
    """

    def __init__(
        self,
        database: Database,
        scheduler: JobScheduler,
        writes: PendingWrites,
        runner: FiringRunner,
        workers: Workers,
        shutdown: Shutdown,
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._writes = writes
        self._runner = runner
        self._workers = workers
        self._shutdown = shutdown
        # By job the firing that last met a manual run, and the jobs that can't run now, until the next poll.
        self._met: dict[int, int] = {}
        self._postponed: set[int] = set()

    def record_due(self, now: datetime, scheduled: Job, first: datetime, last: datetime) -> None:
        """Record the fire times of a job that were due at *now*: one, or several that passed unnoticed."""
        job = self._scheduler.find_job(scheduled.job_id)
        if job is None:  # removed or paused since
            return
        if job.schedule_start > scheduled.schedule_start:  # its new schedule has fired since then
            job, last = scheduled, min(last, job.schedule_start)
        if first > last:
            return
        if first == last and now - last <= LATE:
            self._writes.add(job, f"the firing at {format_instant(last)}", partial(self._add_firing, job, last))
            self._writes.write()
        else:
            self.record_missed(job, first - TICK, last, "the machine or the daemon was held up")
        self.submit_next()

    def record_missed(self, job: Job, since: datetime, until: datetime, reason: str) -> None:
        """Record the fire times in (since, until] as missed, and add their catch-up runs."""
        gap = find_gap(job, since, until, reason)
        if gap is not None:
            what = f"{gap.message}, from {format_instant(gap.first)} to {format_instant(until)}"
            self._writes.add(job, what, lambda again: record_gap(self._database, job, gap, _now, again=again))
            self._writes.write()
            _log.warning("%s", gap.message)

    def poll(self) -> None:
        """Write what is pending, and try again to run what met a manual run."""
        self._writes.write()
        self._postponed.clear()
        self.submit_next()

    def submit_next(self) -> None:
        """Submit the oldest firings while a worker is idle."""
        while self._workers.has_idle() and not self._shutdown.is_requested():
            taken = self._workers.active_jobs().keys() | self._postponed
            firing = find_next_firing(self._database, _now(), taken)
            if firing is None:
                return
            job = self._scheduler.find_job(firing.job_id)
            if job is not None and self._is_wanted(job, firing):
                self._workers.submit(job, partial(self._run, job, firing), runs=True)
                continue
            stored = get_job_numbered(self._database, firing.job_id)
            if job is None and _fires(stored):  # resumed since the last poll, or its time zone is not known here
                self._postponed.add(firing.job_id)
            else:
                self._skip(stored, firing, "the job was paused or removed while it waited for other runs")

    def submit_notifications(self, job: Job) -> None:
        """Send the notification of a failure that was recorded but not reported."""
        if job.spec.notify:
            self._workers.submit(job, partial(self._runner.notifier.notify_pending, job))

    def _add_firing(self, job: Job, due_at: datetime, again: bool) -> None:  # noqa: FBT001  a Write
        active = job.job_id in self._workers.active_jobs()
        add = partial(add_firing, self._database, job, due_at, _now, again=again)
        try:
            reason = add(busy="the previous run was still running" if active else None)
        except Busy as busy:
            if recover(self._database):  # the process of a manual run is dead
                self._add_firing(job, due_at, again)
                return
            reason = add(busy=str(busy))
        if reason is not None:
            _log_skipped(due_at, reason)

    def _is_wanted(self, job: Job, firing: Firing) -> bool:
        """Return whether a catch-up run or a retry agrees with its job, which may have changed."""
        if firing.retry_of is not None:
            return retry_at(job, get_run(self._database, firing.retry_of), _now()) is not None
        return firing.cause is Cause.SCHEDULE or firing.due_at >= job.schedule_start

    def _run(self, job: Job, firing: Firing) -> None:
        """Run a firing; called on a worker thread."""
        notified = False
        try:
            notified = self._runner.run(job, firing, partial(self._finish_later, job))
        except Busy as busy:
            notified = True
            self._postpone(job, firing, busy)
        except Exception:
            # Without this, a firing whose run can't begin because of a defect would be tried for ever.
            guarded(lambda: self._skip(job, firing, "runner was stopped by an error"))
            raise
        finally:
            if not notified:
                self._writes.add(job, "the notifications of a run", lambda _: self._notify_later(job))

    def _postpone(self, job: Job, firing: Firing, busy: Busy) -> None:
        """Skip a firing that meets a manual run of its job, but keep a retry or a catch-up run."""
        if firing.cause is Cause.SCHEDULE and firing.attempt == 1:
            self._skip(job, firing, str(busy))
            return
        if self._met.get(job.job_id) != firing.firing_id:
            what = f"attempt {firing.attempt}" if firing.attempt > 1 else "the catch-up run"
            _log.info("%s waits until a manual run has finished", what)
        self._met[job.job_id] = firing.firing_id
        self._postponed.add(job.job_id)

    def _skip(self, job: Job, firing: Firing, reason: str) -> None:
        if skip_firing(self._database, job, firing, _now(), reason):
            _log_skipped(firing.due_at, reason)

    def _finish_later(self, job: Job, finish: Callable[[], object]) -> None:
        self._writes.add(job, "the end of a failed run", lambda _: finish())

    def _notify_later(self, job: Job) -> None:
        jobs_revision(self._database)  # not while the database can't be read
        self.submit_notifications(job)


def _fires(job: Job) -> bool:
    return job.removed_at is None and job.spec.schedule is not None and not job.spec.paused


def _log_skipped(due_at: datetime, reason: str) -> None:
    _log.warning("the firing at %s was skipped: %s", format_instant(due_at), reason)


def _now() -> datetime:
    return datetime.now(UTC)
