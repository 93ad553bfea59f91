"""Whose turn it is: a run, or a calibration, begins when nothing else is going on in its database."""

import logging
import time
from collections.abc import Callable
from functools import partial

from runner.execution.recovery import recover
from runner.history.database import Database, RunLock
from runner.history.recording import Busy
from runner.measure.observer import RunObserver
from runner.model.errors import HistoryError, LockHeld, RunnerError, reason_of
from runner.model.runs import Status

_log = logging.getLogger(__name__)

# How often what has to wait for another run looks whether that has finished.
_WAIT_S = 0.2
# How often it is asked whether to stop.
_STOP_POLL_S = 0.1
# How often a database that can't be used is tried again.
_AGAIN_S = 1.0
# How long a lock is waited for that another process holds alone; the daemon waits without limit.
LOCK_TIMEOUT_S = 60.0


class Stopped(RunnerError):
    """A run was stopped while it waited for another one; nothing was recorded."""


def holding(lock: RunLock, begin: Callable[[], int]) -> Callable[[], int]:
    """Let a lock be held from before something is on record; whoever waits to begin holds none."""

    def locked() -> int:
        try:
            lock.hold()
            return begin()
        except BaseException:
            lock.release()
            raise

    return locked


def stop_when_lock_lost(lock: RunLock, stop: Callable[[], Status | None]) -> Callable[[], Status | None]:
    """Make sure, whenever it is asked whether to stop, that a lock is still held: its file may have been removed.

    Whoever finds another file in its place would take what is carried out under it for a process's that is gone.
    """

    def look() -> Status | None:
        try:
            lock.hold()
        except HistoryError as error:  # what it has is all that it can have for now
            _log.debug("%s", error)
        return stop()

    return look


def wait_for_slot(
    database: Database, begin: Callable[[], int], watching: RunObserver, *, what: str, job_id: int | None
) -> int:
    """Begin something as soon as nothing else is going on.

    Args:
        database: Where that is decided.
        begin: Begins it; raises Busy while it may not.
        watching: Told for whom it waits, and asked to stop.
        what: What is to begin.
        job_id: The job of which it is a run; None for a calibration.

    Returns:
        What *begin* gave.

    Raises:
        Busy: If a run of the same job is going on.
        LockHeld: If another process holds the lock of runs for too long.
        Stopped: If it was stopped while it waited.
    """
    told = ""
    give_up_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            try:
                return begin()
            except Busy as busy:
                if recover(database):
                    continue
                if busy.job_id == job_id is not None:
                    raise
                reason, pause_s = str(busy).partition(";")[0] + "; waiting until it has finished", _WAIT_S
            tell = watching.on_wait
        except (HistoryError, OSError, MemoryError) as error:  # the others for want of descriptors or memory
            if watching.stop() is None and not _may_wait(error, watching, give_up_s):
                raise
            reason, pause_s = f"{what} has to wait: {reason_of(error)}", _AGAIN_S
            tell = partial(_log.warning, "%s") if watching.patient else watching.on_wait
        if reason != told:
            tell(reason)
            told = reason
        again_s = time.monotonic() + pause_s
        while (left_s := again_s - time.monotonic()) > 0:
            if watching.give_up() or watching.stop() is not None:
                raise Stopped(f"{what} was stopped before it began")
            time.sleep(min(left_s, _STOP_POLL_S))


def _may_wait(error: BaseException, watching: RunObserver, give_up_s: float) -> bool:
    """Return whether to try again after an error: the daemon always, a command while a lock is held."""
    return watching.patient or (isinstance(error, LockHeld) and time.monotonic() < give_up_s)
