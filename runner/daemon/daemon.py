"""The daemon: one loop that follows the jobs table and the clock, and submits due jobs to the worker threads.

APScheduler's thread ─ fire time ─▶ inbox ─▶ Daemon's loop ─ firing ─▶ Workers ─ ended run ─▶ inbox
"""

import logging
import math
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from runner.daemon.catch_up import catch_up_earlier_daemon, record_missed
from runner.daemon.clock import ClockWatch, fires_after, list_recorded_jobs
from runner.daemon.firing_runner import FiringRunner
from runner.daemon.guard import guarded
from runner.daemon.heartbeat import Heartbeat
from runner.daemon.lock import daemon_lock
from runner.daemon.pending_writes import PendingWrites
from runner.daemon.retention import prune_daily
from runner.daemon.retry_queue import RetryQueue
from runner.daemon.scheduler import JobScheduler
from runner.daemon.settings import DaemonSettings
from runner.daemon.shutdown import Shutdown
from runner.daemon.signals import listen
from runner.daemon.workers import Firing, Workers
from runner.execution.recovery import recover
from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.history.jobs import jobs_revision
from runner.history.prune import Retention
from runner.history.runs import get_run
from runner.measure.environment import describe_process
from runner.model.errors import RunnerError, UsageError
from runner.model.jobs import Job
from runner.model.runs import Cause
from runner.model.subject import log_context
from runner.model.units import TICK, format_count
from runner.operations.metrics_writer import MetricsWriter
from runner.operations.notifications import Describe, Notifier
from runner.operations.service_notifier import ServiceNotifier
from runner.schedules.fire_times import LATE

_log = logging.getLogger(__name__)

# How often to look at the clock and the jobs table, which a daemon follows within two seconds.
_POLL_S = 1.0
# How long actions of the inbox may delay that.
_INBOX_S = 5.0


class Daemon:
    """The scheduler of one database, in the foreground.

    The thread of :meth:`run` makes all decisions; other threads send it actions through the inbox.

    Args:
        database: Its jobs and their history.
        load: Loads the settings, now and on SIGHUP.
        describe: Returns a run's record for notifications.
        service: The service manager.
        metrics: The metrics; None without a metrics file.
    """

    def __init__(
        self,
        database: Database,
        load: Callable[[], DaemonSettings],
        describe: Describe,
        service: ServiceNotifier | None = None,
        metrics: MetricsWriter | None = None,
    ) -> None:
        self._database = database
        self._load = load
        self._settings = load()
        self._service = service or ServiceNotifier()
        self._metrics = metrics
        self._shutdown = Shutdown(database)
        # None only wakes the loop.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._scheduler = JobScheduler(lambda *due: self._inbox.put(partial(self._submit_due, datetime.now(UTC), *due)))
        self._pending_writes = PendingWrites(database)
        self._notifier = Notifier(database, describe, self._shutdown.run_status)
        runner = FiringRunner(
            database=database,
            settings=lambda: self._settings,
            find_job=self._scheduler.find_job,
            pending_writes=self._pending_writes,
            notifier=self._notifier,
            shutdown=self._shutdown,
            on_ended=self._note_ended,
            on_postponed=lambda firing: self._inbox.put(partial(self._retry_queue.put, firing)),
        )
        self._workers = Workers(runner.run, self._pending_writes.record_skipped, self._shutdown)
        self._retry_queue = RetryQueue(database, self._workers, self._scheduler.find_job)
        self._clock = ClockWatch(database, self._scheduler, self._workers, self._pending_writes)
        self._heartbeat = Heartbeat(database, describe_process(), self._scheduler, self._service, metrics)
        # The jobs of ended runs, and whether their notifications were determined.
        self._ended: deque[tuple[Job, bool]] = deque()
        self._revision = -1

    def run(self) -> None:
        """Fire what is due until SIGTERM or SIGINT.

        Raises:
            DaemonError: If the database has a daemon already, or gets another one while its server is restarted
                or its lock's file removed.
        """
        with daemon_lock(self._database) as hold_lock:
            listen((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self._on_signal)
            retention = threading.Thread(
                target=prune_daily,
                args=(self._database, self._retention, self._shutdown.is_requested),
                name="retention",
            )
            try:
                if self._metrics is not None:
                    self._metrics.start()
                self._start()
                self._workers.resize(self._settings.at_once)
                retention.start()
                self._scheduler.start()
                self._service.ready()
                self._loop(hold_lock)
                _log.info("%s: stopping; a second signal ends a running run at once", self._shutdown.reason)
            finally:
                self._stop(retention)
            _log.info("stopped")

    def _start(self) -> None:
        """Record the daemon, and take over the jobs and what the earlier daemon left."""
        # The earlier daemon is dead even if it ran on another machine: its lock was free.
        earlier = find_daemon(self._database)
        for run_id in recover(self._database, gone=earlier.owner if earlier is not None else None):
            with log_context(get_run(self._database, run_id).job, run_id):
                _log.warning("interrupted: its process is gone")
        now = datetime.now(UTC)
        self._heartbeat.start(now)  # replaces the earlier daemon's record, which recovery needs
        self._revision = jobs_revision(self._database)
        jobs, recorded = list_recorded_jobs(self._database, now)
        for job in jobs:
            self._submit_notifications(job)
            if job.spec.schedule is not None and not job.spec.paused:
                with log_context(job.spec.name):
                    try:
                        since = max(job.armed_at, recorded.get(job.job_id, job.armed_at))
                        times = catch_up_earlier_daemon(self._database, self._pending_writes, job, since, now)
                        self._submit_catch_up(job, times)
                        self._retry_queue.schedule_retries(job, now)
                    except UsageError as error:  # its time zone is not known on this machine
                        _log.error("can't be fired: %s", error)
        self._scheduler.sync(jobs, lambda job: max(now, fires_after(job, recorded.get(job.job_id), now)))
        _log.info("started: %s in %s", format_count(len(jobs), "job"), self._database.location)

    def _loop(self, hold_lock: Callable[[], None]) -> None:
        next_poll_s = time.monotonic()
        while not self._shutdown.is_requested():
            if time.monotonic() >= next_poll_s:
                next_poll_s = time.monotonic() + _POLL_S
                self._heartbeat.beat(self._describe_activity)
                guarded(hold_lock)
                guarded(self._clock.check)
                guarded(self._sync_jobs)
                guarded(self._pending_writes.write)
                guarded(self._follow_ended)
            for firing in self._retry_queue.list_due():
                guarded(partial(self._retry_queue.submit, firing), firing.job)
            # The whole inbox, as the database may have been slow; but the next poll must not be late, or the daemon
            # would count as dead.
            deadline_s = max(time.monotonic(), next_poll_s) + _INBOX_S
            with suppress(queue.Empty):
                while not self._shutdown.is_requested() and time.monotonic() < deadline_s:
                    wait_s = min(next_poll_s, self._retry_queue.next_s()) - time.monotonic()
                    action = self._inbox.get(timeout=max(0.0, wait_s))
                    if action is not None:
                        guarded(action)

    def _stop(self, retention: threading.Thread) -> None:
        # After an error too: worker threads that are not stopped would keep the process alive.
        self._shutdown.request("an error")
        self._service.stopping()
        self._scheduler.stop()
        if not self._workers.stop():
            _log.error("a run could not be ended and is left; the next daemon records it as interrupted")
        if retention.ident is not None:
            retention.join()
        guarded(self._pending_writes.write)
        if self._metrics is not None:
            self._metrics.stop()
        self._heartbeat.stop()

    def _submit_due(self, now: datetime, job_id: int, first: datetime, last: datetime) -> None:
        """Submit a job that was due at *now*, or record its fire times as missed."""
        job = self._scheduler.find_job(job_id)
        if job is None:  # removed or paused since
            return
        if first == last and now - last <= LATE:
            self._workers.submit(Firing(job, Cause.SCHEDULE, [last]))
            return
        with log_context(job.spec.name):
            reason = "the machine or the daemon was held up"
            self._submit_catch_up(job, record_missed(self._pending_writes, job, first - TICK, last, reason))

    def _submit_catch_up(self, job: Job, times: list[datetime]) -> None:
        if times:
            self._workers.submit(Firing(job, Cause.CATCHUP, times))

    def _submit_notifications(self, job: Job) -> None:
        """Send the notification of a failure that was recorded but not reported."""
        if job.spec.notify:
            self._workers.submit_action(partial(self._notifier.notify_pending, job), job)

    def _sync_jobs(self) -> None:
        """Follow changes of the jobs table."""
        revision = jobs_revision(self._database)
        if revision == self._revision:
            return
        now = datetime.now(UTC)
        jobs, recorded = list_recorded_jobs(self._database, now)
        for job in jobs:
            if job != self._scheduler.find_job(job.job_id):
                self._retry_queue.schedule_retries(job, now)
        self._scheduler.sync(jobs, lambda job: fires_after(job, recorded.get(job.job_id), now))
        self._revision = revision

    def _note_ended(self, job: Job, notified: bool) -> None:  # noqa: FBT001  a callback
        self._ended.append((job, notified))
        self._inbox.put(self._follow_ended)
        if self._metrics is not None:
            self._metrics.wake()

    def _follow_ended(self) -> None:
        """Schedule the retries of ended runs once their ends are written."""
        while self._ended and self._pending_writes.is_empty():
            ended, notified = self._ended[0]
            job = self._scheduler.find_job(ended.job_id)
            if job is not None:
                self._retry_queue.schedule_retries(job, datetime.now(UTC))
                if not notified:
                    self._submit_notifications(job)
            self._ended.popleft()

    def _on_signal(self, number: int) -> float:
        """Handle a signal on a thread that must not wait; return after how many seconds to end this process by force.

        Nothing is logged: the log's reader may not read.
        """
        if number == signal.SIGHUP:
            self._inbox.put(self._reload)
            return math.inf
        limit_s = self._shutdown.request_by_signal(number)
        self._inbox.put(None)
        return limit_s

    def _reload(self) -> None:
        """Load the settings again."""
        self._service.reloading()
        try:
            self._settings = self._load()
        except RunnerError as error:
            _log.error("the settings stay as they were: %s", error)
        else:
            self._workers.resize(self._settings.at_once)
            _log.info("SIGHUP: the settings were read again")
        finally:
            self._service.ready()

    def _retention(self, now: datetime) -> Retention | None:
        retention = self._settings.retention
        return retention(now) if retention is not None else None

    def _describe_activity(self) -> str:
        names = self._workers.active_jobs()
        due = f"{format_count(len(names), 'run')} due: {', '.join(names[:5])}"
        return due if names else "waiting for the next fire time"
