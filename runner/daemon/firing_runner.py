"""The run of a firing on a worker thread."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from runner.daemon.pending_writes import PendingWrites
from runner.daemon.settings import DaemonSettings
from runner.daemon.shutdown import Shutdown
from runner.daemon.workers import Firing
from runner.execution.executor import fire
from runner.execution.locks import Stopped
from runner.history.database import Database
from runner.history.recording import Busy
from runner.history.runs import get_run
from runner.measure.observer import RunObserver
from runner.model.jobs import Job
from runner.model.runs import Cause
from runner.model.units import format_seconds
from runner.operations.notifications import Notifier

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FiringRunner:
    """Runs firings.

    Attributes:
        database: The daemon's database.
        settings: Returns the current settings.
        find_job: Finds a job as it is now; None if it was removed or paused.
        pending_writes: Receives what can't be written now.
        notifier: Sends the notifications.
        shutdown: Stops runs.
        on_ended: Called with the job of an ended run and whether its notifications were determined.
        on_postponed: Called with a firing that has to wait for a manual run of its job.
    """

    database: Database
    settings: Callable[[], DaemonSettings]
    find_job: Callable[[int], Job | None]
    pending_writes: PendingWrites
    notifier: Notifier
    shutdown: Shutdown
    on_ended: Callable[[Job, bool], None]
    on_postponed: Callable[[Firing], None]

    def run(self, firing: Firing, at: datetime, on_start: Callable[[], None]) -> None:
        """Run a firing for one of its fire times, and send the notifications; *on_start* is called with the run."""
        job = self.find_job(firing.job.job_id)
        if job is None:
            if _needs_record(firing):
                reason = "the job was paused or removed while it waited for other runs"
                self.pending_writes.record_skipped(firing.job, at, reason)
            return
        notified = False
        try:
            run_id = self._fire(job, firing, at, on_start)
            notified = self._report(job, run_id)
        except Busy as busy:
            self._postpone(busy, job, firing, at)
        except Stopped:
            pass
        except BaseException:
            self.on_ended(job, notified)
            raise
        else:
            self.on_ended(job, notified)

    def _fire(self, job: Job, firing: Firing, at: datetime, on_start: Callable[[], None]) -> int:
        settings = self.settings()
        return fire(
            self.database,
            job,
            cause=firing.cause,
            scheduled_at=at,
            start_method=settings.start_method,
            at_once=settings.at_once,
            attempt=firing.attempt,
            watching=RunObserver(
                stop=self.shutdown.run_status,
                give_up=self.shutdown.is_requested,
                on_strategy=lambda _strategy, _position: on_start(),
                on_wait=lambda reason: _log.info("%s", reason),
                on_unended=partial(self.pending_writes.add, job),
                patient=True,
            ),
        )

    def _report(self, job: Job, run_id: int) -> bool:
        run = get_run(self.database, run_id)
        level = logging.ERROR if run.status.is_failure else logging.INFO
        message = f": {run.message}" if run.message else ""
        _log.log(level, "%s in %s%s", run.status.value, format_seconds(run.wall_s), message)
        return self.notifier.tell(job, run_id)

    def _postpone(self, busy: Busy, job: Job, firing: Firing, at: datetime) -> None:
        """Skip a firing that meets a manual run; a retry or a catch-up run has a record that promises it, and waits."""
        if _needs_record(firing):
            self.pending_writes.record_skipped(job, at, str(busy))
            return
        if not firing.postponed:
            what = f"attempt {firing.attempt}" if firing.attempt > 1 else "the catch-up run"
            _log.info("%s waits until a manual run has finished", what)
        self.on_postponed(Firing(job, firing.cause, [at], firing.failed, postponed=True))


def _needs_record(firing: Firing) -> bool:
    return firing.cause is Cause.SCHEDULE and firing.attempt == 1
