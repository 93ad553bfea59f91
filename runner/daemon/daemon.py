"""The daemon: one loop that follows the jobs table and the clock, and has due jobs run by the worker threads.

APScheduler's thread ─ fire time ─▶ inbox ─▶ Daemon's loop ─ Dispatcher ─▶ firings ─▶ Workers ─ run ─▶ runs
"""

import logging
import math
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runner.daemon.clock import ClockWatch, fires_after, list_recorded_jobs
from runner.daemon.dispatcher import Dispatcher
from runner.daemon.firing_runner import FiringRunner
from runner.daemon.guard import guarded, repeats_limited
from runner.daemon.heartbeat import Heartbeat
from runner.daemon.lock import daemon_lock
from runner.daemon.pending_writes import PendingWrites
from runner.daemon.retention import prune_daily
from runner.daemon.scheduler import JobScheduler
from runner.daemon.settings import DaemonSettings
from runner.daemon.shutdown import Shutdown
from runner.daemon.signals import listen
from runner.daemon.take_over import take_over
from runner.daemon.workers import Workers
from runner.history.database import Database
from runner.history.jobs import jobs_revision
from runner.measure.environment import describe_process
from runner.model.errors import RunnerError
from runner.model.units import format_count
from runner.operations.metrics_writer import MetricsWriter
from runner.operations.notifications import Describe, Notifier
from runner.operations.service_notifier import ServiceNotifier
from runner.operations.web_process import WebProcess

_log = logging.getLogger(__name__)

# How often to look at the clock and the jobs table, which a daemon follows within two seconds.
_POLL_S = 1.0
# How long actions of the inbox may delay that.
_INBOX_S = 5.0


class Daemon:
    """The scheduler of one database, in the foreground.

    The thread of :meth:`run` makes all decisions; other threads send it actions through the inbox. All pending work is
    in the database.

    Args:
        database: Its jobs and their history.
        load: Loads the settings, now and on SIGHUP.
        describe: Returns the text of a notification.
        service: The service manager.
        metrics: The metrics; None without a metrics file.
        web: The process of the web pages; None without pages.
    """

    def __init__(
        self,
        database: Database,
        load: Callable[[], DaemonSettings],
        describe: Describe,
        service: ServiceNotifier | None = None,
        metrics: MetricsWriter | None = None,
        web: WebProcess | None = None,
    ) -> None:
        self._database = database
        self._load = load
        self._settings = load()
        self._service = service or ServiceNotifier()
        self._metrics = metrics
        self._web = web
        self._shutdown = Shutdown(database)
        # None only wakes the loop.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

        def on_due(*due: Any) -> None:
            self._inbox.put(partial(self._dispatcher.record_due, datetime.now(UTC), *due))

        def on_idle() -> None:
            self._inbox.put(self._dispatcher.submit_next)
            if metrics is not None:
                metrics.wake()

        self._scheduler = JobScheduler(on_due)
        self._heartbeat = Heartbeat(database, describe_process(), self._scheduler, self._service, metrics)
        self._pending_writes = PendingWrites(self._heartbeat.keep_alive)
        self._workers = Workers(self._shutdown, on_idle)
        self._dispatcher = Dispatcher(
            database=database,
            scheduler=self._scheduler,
            writes=self._pending_writes,
            runner=FiringRunner(
                database=database,
                settings=lambda: self._settings,
                notifier=Notifier(database, describe, self._shutdown.run_status),
                shutdown=self._shutdown,
            ),
            workers=self._workers,
            shutdown=self._shutdown,
        )
        self._clock = ClockWatch(database, self._scheduler, self._pending_writes)
        self._revision = -1

    def run(self) -> None:
        """Fire what is due until SIGTERM or SIGINT.

        Raises:
            DaemonError: If the database has a daemon already, or gets another one while its server is restarted
                or its lock's file removed.
        """
        with daemon_lock(self._database) as hold_lock, repeats_limited():
            listen((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self._on_signal)
            retention = threading.Thread(
                target=prune_daily,
                args=(self._database, lambda: self._settings.retention, self._shutdown.is_requested),
                name="retention",
            )
            try:
                self._start()
                retention.start()
                self._loop(hold_lock)
                _log.info("%s: stopping; a second signal ends a running run at once", self._shutdown.reason)
            finally:
                self._stop(retention)
            _log.info("stopped")

    def _start(self) -> None:
        """Record the daemon, take over the jobs and what the earlier daemon left, and start to fire."""
        if self._metrics is not None:
            self._metrics.start()
        now = datetime.now(UTC)
        self._revision = jobs_revision(self._database)
        jobs, recorded = take_over(self._database, self._heartbeat, self._dispatcher, now)
        self._scheduler.sync(jobs, lambda job: max(now, fires_after(job, recorded.get(job.job_id), now)))
        _log.info("started: %s in %s", format_count(len(jobs), "job"), self._database.location)
        self._workers.resize(self._settings.at_once)
        self._dispatcher.poll()
        self._scheduler.start()
        self._service.ready()
        if self._web is not None:
            self._web.start()

    def _loop(self, hold_lock: Callable[[], None]) -> None:
        next_poll_s = time.monotonic()
        while not self._shutdown.is_requested():
            if time.monotonic() >= next_poll_s:
                next_poll_s = time.monotonic() + _POLL_S
                self._heartbeat.beat(self._workers.describe)
                for check in (hold_lock, self._clock.check, self._sync_jobs, self._dispatcher.poll):
                    self._heartbeat.keep_alive()
                    guarded(check)
            # The whole inbox, as the database may have been slow; but the next poll must not be late, or the daemon
            # would count as dead.
            deadline_s = max(time.monotonic(), next_poll_s) + _INBOX_S
            with suppress(queue.Empty):
                while not self._shutdown.is_requested() and time.monotonic() < deadline_s:
                    action = self._inbox.get(timeout=max(0.0, next_poll_s - time.monotonic()))
                    self._heartbeat.keep_alive()
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
        if self._web is not None:
            self._web.stop()

    def _sync_jobs(self) -> None:
        """Follow changes of the jobs table."""
        revision = jobs_revision(self._database)
        if revision != self._revision:
            now = datetime.now(UTC)
            jobs, recorded = list_recorded_jobs(self._database, now)
            self._scheduler.sync(jobs, lambda job: fires_after(job, recorded.get(job.job_id), now))
            self._revision = revision

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
