"""Checks of directories by trial processes, because a file system may never answer."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.measure.observer import RunObserver
from runner.measure.trial import ExistsTask, LookTask
from runner.measure.trials import Progress, carry_out
from runner.model.errors import ScanError
from runner.model.runs import Status

if TYPE_CHECKING:
    from runner.measure.trial import Task

_log = logging.getLogger(__name__)

# Time without an answer before the observer is notified.
_NOTICE_S = 2.0
# Default time limit of a check.
_LIMIT_S = 60.0


def report_waiting(
    observer: RunObserver, roots: Sequence[bytes], limits_s: Sequence[float | None] = (None,)
) -> RunObserver:
    """Return an observer that also reports, once, that nothing has been read for two seconds.

    Args:
        observer: Receives that report and everything else.
        roots: The tree that is read, or directories that each count as read once they have answered.
        limits_s: For each of them, seconds without an answer after which ``stop`` raises ScanError; None for no limit.
    """
    read, since_s, reported = 0, time.monotonic(), False
    before: Progress | None = None

    def on_progress(progress: Progress) -> None:
        nonlocal read, since_s, before
        if progress != before:
            read, since_s, before = progress.directories, time.monotonic(), progress
        if observer.on_progress is not None:
            observer.on_progress(progress)

    def stop() -> Status | None:
        nonlocal reported
        number, silent_s = min(read, len(roots) - 1), time.monotonic() - since_s
        if not reported and silent_s >= _NOTICE_S:
            reported = True
            observer.on_wait(f"waiting for {os.fsdecode(roots[number])!r} to answer")
        limit_s = limits_s[number]
        if limit_s is not None and silent_s >= limit_s:
            raise ScanError(
                f"{os.fsdecode(roots[number])!r} did not answer within {limit_s:g} s; check its file system, "
                "or raise the timeout"
            )
        return observer.stop()

    return replace(observer, on_progress=on_progress, stop=stop)


def look_at_roots(roots: Sequence[bytes], timeouts_s: Sequence[float | None]) -> list[tuple[str, str | None]]:
    """Check whether directories can be scanned, one after another.

    Args:
        roots: Their absolute paths.
        timeouts_s: Time limit of each; None for a minute.

    Returns:
        For each the type of its file system, and why it can't be scanned, None if it can.

    Raises:
        ScanError: If one does not answer in time, or no process can be started.
    """
    looked: list[tuple[str, str | None]] = _check(LookTask(tuple(roots)), roots, timeouts_s) if roots else []
    return looked


def exists(path: str, timeout_s: float | None = None) -> bool:
    """Return whether a path exists.

    Raises:
        ScanError: If its file system does not answer in time.
    """
    there: bool = _check(ExistsTask(path), [os.fsencode(path)], [timeout_s])
    return there


def _check(task: "Task", roots: Sequence[bytes], timeouts_s: Sequence[float | None]) -> Any:
    limits_s = [_LIMIT_S if timeout_s is None else timeout_s for timeout_s in timeouts_s]
    observer = report_waiting(RunObserver(on_wait=partial(_log.warning, "%s")), roots, limits_s)
    result = carry_out(task, stop=observer.stop, on_progress=observer.on_progress)
    if result.message is not None:
        raise ScanError(result.message)
    return result.value
