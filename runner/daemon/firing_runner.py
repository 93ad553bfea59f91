"""The run of a firing on a worker thread."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from runner.daemon.settings import DaemonSettings
from runner.daemon.shutdown import Shutdown
from runner.execution.executor import fire
from runner.execution.locks import Stopped
from runner.history.database import Database
from runner.history.recording import Withdrawn
from runner.history.runs import get_run
from runner.measure.observer import RunObserver
from runner.model.jobs import Job
from runner.model.runs import Firing
from runner.model.units import format_seconds
from runner.operations.notifications import Notifier

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FiringRunner:
    """Runs firings and sends their notifications.

    Attributes:
        database: The daemon's database.
        settings: Returns the current settings.
        notifier: Sends the notifications.
        shutdown: Stops runs.
    """

    database: Database
    settings: Callable[[], DaemonSettings]
    notifier: Notifier
    shutdown: Shutdown

    def run(self, job: Job, firing: Firing, on_unended: Callable[[Callable[[], object]], None]) -> bool:
        """Run a firing; return whether its notifications were determined.

        Raises:
            Busy: If it meets a manual run of its job.
        """
        settings = self.settings()
        try:
            run_id = fire(
                self.database,
                job,
                firing,
                start_method=settings.start_method,
                cluster=settings.cluster,
                at_once=settings.at_once,
                observer=RunObserver(
                    stop=self.shutdown.run_status,
                    give_up=self.shutdown.is_requested,
                    on_wait=lambda reason: _log.info("%s", reason),
                    on_unended=on_unended,
                    patient=True,
                ),
            )
        except (Stopped, Withdrawn):
            return True
        run = get_run(self.database, run_id)
        level = logging.ERROR if run.status.is_failure else logging.INFO
        message = f": {run.message}" if run.message else ""
        _log.log(level, "%s in %s%s", run.status.value, format_seconds(run.wall_s), message)
        return self.notifier.notify(job, run_id)
