"""What a process that is gone has left as running in the history."""

from dataclasses import replace
from datetime import UTC, datetime

from runner.history.calibrations import finish_calibration, list_calibrators
from runner.history.database import Database
from runner.history.recording import Ending, finish_run
from runner.history.runs import list_owners
from runner.measure.environment import is_alive, is_out_of_sight
from runner.model.runs import Owner, Status


def recover(database: Database, gone: Owner | None = None) -> list[int]:
    """End, in the history, the runs and calibrations whose process is gone; returns the numbers of the runs.

    Args:
        database: Where they are.
        gone: A process that is known to be gone, on whatever machine it was.
    """
    if database.location.read_only:
        return []
    with database.view() as view:
        calibrators, owners = list_calibrators(view), list_owners(view)
    for calibration_id, owner in calibrators.items():
        if _is_gone(database, owner):
            finish_calibration(database, calibration_id, None)
    ended = []
    for run_id, owner in owners.items():
        # Not by the machine's name, which may have been changed since.
        of_gone = gone is not None and replace(owner, host=gone.host) == gone
        if of_gone or _is_gone(database, owner):
            message = f"the process that carried it out ({owner.pid}) is gone"
            ending = Ending(status=Status.INTERRUPTED, finished_at=datetime.now(UTC), message=message)
            if finish_run(database, run_id, ending):
                ended.append(run_id)
    return ended


def end_out_of_sight(database: Database, run_id: int) -> bool:
    """End a run that somebody has asked to end, if its process does not answer and is not to be looked for from here.

    Returns:
        Whether it is such a one; if its process goes on after all, what it finds is not saved.
    """
    owner = list_owners(database).get(run_id)
    if owner is None or not is_out_of_sight(owner):
        return False
    message = f"its process ({owner.pid}), out of sight from here, did not answer when it was asked to end"
    finish_run(database, run_id, Ending(status=Status.INTERRUPTED, finished_at=datetime.now(UTC), message=message))
    return True


def _is_gone(database: Database, owner: Owner) -> bool:
    """Whether a process has ended, however it is looked for.

    One that is out of sight is gone when nobody holds the lock that it took before it was on record. While others hold
    it that can't be told; but what is gone stands in the way of most others, so that they do not for long.
    """
    return not is_alive(owner) or (is_out_of_sight(owner) and database.location.is_deserted())
