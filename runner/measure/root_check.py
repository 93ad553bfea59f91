"""Looks at directories by processes that can be given up, because a file system may never answer."""

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

# After so long without an answer it is told what is waited for.
_NOTICE_S = 2.0
# How long a look waits for an answer unless a timeout is chosen.
_LIMIT_S = 60.0


def tell_waiting(
    watching: RunObserver, roots: Sequence[bytes], limits_s: Sequence[float | None] = (None,)
) -> RunObserver:
    """Return what also tells, once, that nothing has been read for two seconds.

    Args:
        watching: Told of it and of all else.
        roots: The tree that is read, or directories of which each counts as read once it has answered.
        limits_s: Seconds without an answer, for each of them, after which asking whether to stop raises ScanError;
            None for no limit.
    """
    read, since_s, told = 0, time.monotonic(), False
    before: Progress | None = None

    def on_progress(progress: Progress) -> None:
        nonlocal read, since_s, before
        if progress != before:
            read, since_s, before = progress.folders, time.monotonic(), progress
        if watching.on_progress is not None:
            watching.on_progress(progress)

    def stop() -> Status | None:
        nonlocal told
        number, silent_s = min(read, len(roots) - 1), time.monotonic() - since_s
        if not told and silent_s >= _NOTICE_S:
            told = True
            watching.on_wait(f"waiting for {os.fsdecode(roots[number])!r} to answer")
        limit_s = limits_s[number]
        if limit_s is not None and silent_s >= limit_s:
            raise ScanError(
                f"{os.fsdecode(roots[number])!r} did not answer within {limit_s:g} s; check its file system, "
                "or raise the timeout"
            )
        return watching.stop()

    return replace(watching, on_progress=on_progress, stop=stop)


def look_at_roots(roots: Sequence[bytes], timeouts_s: Sequence[float | None]) -> list[tuple[str, str | None]]:
    """Look whether directories can be scanned, one after another.

    Args:
        roots: Their absolute paths.
        timeouts_s: How long to wait for each; None for a minute.

    Returns:
        For each the type of its file system, and why it can't be scanned; None if it can.

    Raises:
        ScanError: If one does not answer in time, or no process can look at it.
    """
    looked: list[tuple[str, str | None]] = _look(LookTask(tuple(roots)), roots, timeouts_s) if roots else []
    return looked


def exists(path: str, timeout_s: float | None = None) -> bool:
    """Return whether there is anything at a path.

    Raises:
        ScanError: If its file system does not answer in time.
    """
    there: bool = _look(ExistsTask(path), [os.fsencode(path)], [timeout_s])
    return there


def _look(task: "Task", roots: Sequence[bytes], timeouts_s: Sequence[float | None]) -> Any:
    limits_s = [_LIMIT_S if timeout_s is None else timeout_s for timeout_s in timeouts_s]
    watching = tell_waiting(RunObserver(on_wait=partial(_log.warning, "%s")), roots, limits_s)
    outcome = carry_out(task, stop=watching.stop, on_progress=watching.on_progress)
    if outcome.message is not None:
        raise ScanError(outcome.message)
    return outcome.result
