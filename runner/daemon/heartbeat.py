"""The heartbeat: the daemon's scheduler is alive."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from runner.daemon.guard import guarded
from runner.daemon.scheduler import JobScheduler
from runner.history.daemons import record_daemon, record_heartbeat
from runner.history.database import Database
from runner.history.maintenance import trim
from runner.model.runs import Owner
from runner.operations.metrics_writer import MetricsWriter
from runner.operations.service_notifier import ServiceNotifier

_HEARTBEAT_S = 10.0
# After so many beats without a check of the scheduler, its thread has ended.
_MAX_STALLED = 30


class Heartbeat:
    """Reports to the service manager, the metrics and the database that the scheduler is alive.

    Args:
        database: The daemon's database.
        owner: The daemon's process.
        scheduler: The scheduler; without it this process is no daemon.
        service: The service manager.
        metrics: The metrics; None without a metrics file.
    """

    def __init__(
        self,
        database: Database,
        owner: Owner,
        scheduler: JobScheduler,
        service: ServiceNotifier,
        metrics: MetricsWriter | None,
    ) -> None:
        self._database = database
        self._owner = owner
        self._scheduler = scheduler
        self._service = service
        self._metrics = metrics
        self._is_recorded = False
        self._next_s = 0.0
        self._stalled = 1  # until the first beat
        self._last_check_s = 0.0

    def start(self, now: datetime) -> None:
        """Record the daemon."""
        record_daemon(self._database, self._owner, now)
        self._is_recorded = True

    def beat(self, status: Callable[[], str]) -> None:
        """Report the daemon as alive if its scheduler is; called once a second.

        Raises:
            RuntimeError: If the scheduler's thread has ended.
        """
        last_check_s = self._scheduler.last_check_s
        self._stalled = self._stalled + 1 if last_check_s == self._last_check_s else 0
        self._last_check_s = last_check_s
        if self._stalled >= _MAX_STALLED:
            raise RuntimeError("the scheduler has stopped to check for due jobs")
        if self._stalled:
            return
        self.keep_alive()
        self._service.status(status())
        if self._metrics is not None:
            self._metrics.note_alive()
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _HEARTBEAT_S
            guarded(self._record)
            guarded(lambda: trim(self._database))

    def keep_alive(self) -> None:
        """Send a watchdog message; called between actions each of which may wait for the database."""
        if not self._stalled:
            self._service.alive()

    def stop(self) -> None:
        """Record that the daemon has stopped."""
        if self._is_recorded:
            guarded(lambda: self._record(stopped=True))

    def _record(self, *, stopped: bool = False) -> None:
        record_heartbeat(self._database, self._owner, datetime.now(UTC), stopped=stopped)
