"""Checks of directories by trial processes, because a file system may never answer."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from runner.measure.observer import RunObserver
from runner.measure.trial import CheckTask, look_at_root
from runner.measure.trials import Progress, carry_out
from runner.model.errors import ScanError
from runner.model.runs import Status

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
    before, since_s, reported = Progress(0, 0, 0), time.monotonic(), False

    def on_progress(progress: Progress) -> None:
        nonlocal before, since_s
        if progress != before:
            before, since_s = progress, time.monotonic()
        observer.on_progress(progress)

    def stop() -> Status | None:
        nonlocal reported
        number, silent_s = min(before.directories, len(roots) - 1), time.monotonic() - since_s
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
    """Return for each directory the type of its file system, and why it can't be scanned, None if it can.

    Raises:
        ScanError: If one does not answer in its time, None for a minute, or no process can be started.
    """
    return _check(look_at_root, roots, timeouts_s) if roots else []


def exists(path: str, timeout_s: float | None = None) -> bool:
    """Return whether a path exists; raise ScanError if its file system does not answer in time."""
    # os.path answers where pathlib raises: for a name that is too long.
    [there] = _check(os.path.exists, [os.fsencode(path)], [timeout_s])
    return bool(there)


def _check(check: Callable[[Any], Any], paths: Sequence[bytes], timeouts_s: Sequence[float | None]) -> list[Any]:
    limits_s = [_LIMIT_S if timeout_s is None else timeout_s for timeout_s in timeouts_s]
    observer = report_waiting(RunObserver(on_wait=partial(_log.warning, "%s")), paths, limits_s)
    result = carry_out(CheckTask(check, paths), stop=observer.stop, on_progress=observer.on_progress)
    if result.message is not None:
        raise ScanError(result.message)
    results: list[Any] = result.value
    return results
