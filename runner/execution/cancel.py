"""Cancelling a run of another process, by a request in the database."""

import time
from datetime import UTC, datetime

from runner.execution.recovery import end_unreachable, recover
from runner.history.database import Database
from runner.history.recording import request_cancel
from runner.history.runs import get_run
from runner.model.errors import DaemonError
from runner.model.runs import Run, Status

# How long to wait for its process, which polls twice a second and then ends the trial process.
_TIMEOUT_S = 15.0
_POLL_S = 0.05


def cancel(database: Database, run_id: int) -> Run:
    """Cancel a run and wait for its end; return it as it ended, perhaps by itself a moment before.

    Raises:
        UsageError: If there is no such run, or it is not running.
        DaemonError: If its process does not answer.
    """
    recover(database)
    request_cancel(database, run_id, datetime.now(UTC))
    deadline_s = time.monotonic() + _TIMEOUT_S
    while (run := get_run(database, run_id)).status is Status.RUNNING:
        if recover(database):  # its process has died
            continue
        if time.monotonic() > deadline_s:
            if end_unreachable(database, run_id):
                continue
            raise DaemonError(
                f"run {run_id} has not ended yet: its process does not answer; it is cancelled once it answers"
            )
        time.sleep(_POLL_S)
    return run
