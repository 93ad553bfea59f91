"""Recovery of runs and calibrations whose process died."""

from dataclasses import replace
from datetime import UTC, datetime

from runner.history.calibrations import finish_calibration, list_calibrators
from runner.history.database import Database
from runner.history.recording import RunOutcome, finish_run
from runner.history.runs import list_owners
from runner.measure.environment import is_alive, is_out_of_sight
from runner.model.runs import Owner, Status


def recover(database: Database, gone: Owner | None = None) -> list[int]:
    """Record the runs and calibrations of dead processes as interrupted; return the numbers of the runs.

    Args:
        database: The history.
        gone: A process known to be dead, on any machine.
    """
    if database.location.read_only:
        return []
    with database.view() as view:
        calibrators, owners = list_calibrators(view), list_owners(view)
    for calibration_id, calibrator in calibrators.items():
        if _is_gone(database, calibrator):
            finish_calibration(database, calibration_id, None)
    recovered = []
    for run_id, owner in owners.items():
        message = "the process that carried it out is gone"
        if owner is not None:
            # Not by the machine's name, which may have been changed.
            is_known = gone is not None and replace(owner, host=gone.host) == gone
            if not is_known and not _is_gone(database, owner):
                continue
            message = f"the process that carried it out ({owner.pid}) is gone"
        if _interrupt(database, run_id, message):
            recovered.append(run_id)
    return recovered


def end_unreachable(database: Database, run_id: int) -> bool:
    """End a run whose process can't be seen from here and did not answer a cancel request.

    Returns:
        Whether it is such a run; if its process still runs, its snapshot is not saved.
    """
    owner = list_owners(database).get(run_id)
    if owner is None or not is_out_of_sight(owner):
        return False
    _interrupt(
        database, run_id, f"its process ({owner.pid}), out of sight from here, did not answer when it was asked to end"
    )
    return True


def _interrupt(database: Database, run_id: int, message: str) -> bool:
    outcome = RunOutcome(status=Status.INTERRUPTED, finished_at=datetime.now(UTC), message=message)
    return finish_run(database, run_id, outcome, by_owner=False)


def _is_gone(database: Database, owner: Owner) -> bool:
    """Return whether a process has ended, even one that can't be seen from here.

    Such a process is dead if nobody holds the run lock, which it acquired before it was recorded. While others hold
    the lock this can't be known; as the dead run blocks most others, they do not hold it for long.
    """
    return not is_alive(owner) or (is_out_of_sight(owner) and database.location.is_deserted())
