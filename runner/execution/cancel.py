"""Ending a run that another process carries out, by asking it through the database."""

import time
from datetime import UTC, datetime

from runner.execution.recovery import end_out_of_sight, recover
from runner.history.database import Database
from runner.history.recording import request_cancel
from runner.history.runs import get_run
from runner.model.errors import DaemonError
from runner.model.runs import Run, Status

# How long its process may take to hear of it; it looks twice a second, and then ends the trial.
_PATIENCE_S = 15.0
_LOOK_S = 0.05


def cancel(database: Database, run_id: int) -> Run:
    """Cancel a run and wait for its end; returns it as it ended, which may have been by itself a moment before.

    Raises:
        UsageError: If there is no such run, or it is not going on.
        DaemonError: If its process does not answer.
    """
    recover(database)
    request_cancel(database, run_id, datetime.now(UTC))
    deadline = time.monotonic() + _PATIENCE_S
    while (run := get_run(database, run_id)).status is Status.RUNNING:
        if recover(database):  # its process died meanwhile
            continue
        if time.monotonic() > deadline:
            if end_out_of_sight(database, run_id):
                continue
            raise DaemonError(
                f"run {run_id} has not ended yet: its process does not answer; it is cancelled as soon as it does"
            )
        time.sleep(_LOOK_S)
    return run
