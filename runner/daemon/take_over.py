"""The start of a daemon: what the earlier one left is finished, recorded or kept."""

import logging
from datetime import datetime

from runner.daemon.clock import list_recorded_jobs
from runner.daemon.dispatcher import Dispatcher
from runner.daemon.heartbeat import Heartbeat
from runner.execution.recovery import recover
from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.history.firings import withdraw_waiting
from runner.history.retries import shorten_waits
from runner.history.runs import get_run
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.subject import log_context

_log = logging.getLogger(__name__)


def take_over(
    database: Database, heartbeat: Heartbeat, dispatcher: Dispatcher, now: datetime
) -> tuple[list[Job], dict[int, datetime]]:
    """Record the daemon, and the fire times that passed without one; waiting retries and catch-up runs stay.

    Returns:
        The jobs, and by job number the instant up to which the fire times are recorded.
    """
    # The earlier daemon is dead even if it ran on another machine: its lock was free.
    earlier = find_daemon(database)
    for run_id in recover(database, gone=earlier.owner if earlier is not None else None):
        with log_context(get_run(database, run_id).job, run_id):
            _log.warning("interrupted: its process is gone")
    heartbeat.start(now)  # replaces the earlier daemon's record, which recovery needs
    shorten_waits(database, now)
    for job, gap in withdraw_waiting(database, now, "it waited for other runs, and the daemon ended"):
        with log_context(job.spec.name):
            _log.warning("%s", gap.message)
    jobs, recorded = list_recorded_jobs(database, now)
    for job in jobs:
        dispatcher.submit_notifications(job)
        if job.spec.schedule is None or job.spec.paused:
            continue
        with log_context(job.spec.name):
            try:
                since = max(job.schedule_start, recorded.get(job.job_id, job.schedule_start))
                dispatcher.record_missed(job, since, now, "no daemon ran")
            except UsageError as error:  # its time zone is not known on this machine
                _log.error("can't be fired: %s", error)
    return jobs, recorded
