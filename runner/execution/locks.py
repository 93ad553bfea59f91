"""The run lock, and the wait for a free slot: a run or a calibration starts when no other one is running."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from runner.execution.recovery import recover
from runner.history.backend import RunLock
from runner.history.database import Database
from runner.history.recording import Busy
from runner.measure.observer import RunObserver
from runner.model.errors import HistoryError, LockHeld, RunnerError, reason_of
from runner.model.runs import Status

_log = logging.getLogger(__name__)

# How often to look for a free slot, for a request to stop, and for a database that can't be used.
_SLOT_POLL_S = 0.2
_STOP_POLL_S = 0.1
_RETRY_INTERVAL_S = 1.0
# How long a command waits for a lock that another process holds; the daemon waits without limit.
LOCK_TIMEOUT_S = 60.0

_T = TypeVar("_T")


class Stopped(RunnerError):
    """A run was stopped before it started; nothing was recorded."""


def holding(lock: RunLock, start: Callable[[], _T]) -> Callable[[], _T]:
    """Return *start* with the lock acquired before it, and released again if it raises."""

    def locked() -> _T:
        try:
            lock.hold()
            return start()
        except BaseException:
            lock.release()
            raise

    return locked


def stop_when_lock_lost(lock: RunLock, stop: Callable[[], Status | None]) -> Callable[[], Status | None]:
    """Return *stop* with the lock acquired again before each call, as its file may have been removed.

    Otherwise a process that finds a new file in its place would recover this run as one of a dead process.
    """

    def hold_and_stop() -> Status | None:
        try:
            lock.hold()
        except HistoryError as error:  # the run continues with what it holds
            _log.debug("%s", error)
        return stop()

    return hold_and_stop


def wait_for_slot(
    database: Database, start: Callable[[], _T], observer: RunObserver, *, what: str, job_id: int | None
) -> _T:
    """Call *start* as soon as it may; return what it returns.

    Args:
        database: The history.
        start: Starts the run or calibration; raises Busy while it may not.
        observer: Receives the reasons for waiting, and may stop the wait.
        what: What is to start.
        job_id: The job of the run; None for a calibration.

    Raises:
        Busy: If a run of the same job is running.
        LockHeld: If another process holds the run lock for too long.
        Stopped: If it was stopped while it waited.
    """
    last_reason = ""
    deadline_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            try:
                return start()
            except Busy as busy:
                if recover(database):
                    continue
                if busy.job_id == job_id is not None:
                    raise
                reason, pause_s = str(busy).partition(";")[0] + "; waiting until it has finished", _SLOT_POLL_S
            report = observer.on_wait
        except (HistoryError, OSError, MemoryError) as error:  # the latter by a shortage of descriptors or memory
            # The daemon always retries, a command while the lock is held.
            retries = observer.patient or (isinstance(error, LockHeld) and time.monotonic() < deadline_s)
            if not retries and observer.stop() is None:
                raise
            reason, pause_s = f"{what} has to wait: {reason_of(error)}", _RETRY_INTERVAL_S
            report = partial(_log.warning, "%s") if observer.patient else observer.on_wait
        if reason != last_reason:
            report(reason)
            last_reason = reason
        resume_s = time.monotonic() + pause_s
        while (left_s := resume_s - time.monotonic()) > 0:
            if observer.give_up() or observer.stop() is not None:
                raise Stopped(f"{what} was stopped before it began")
            time.sleep(min(left_s, _STOP_POLL_S))
