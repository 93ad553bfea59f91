"""Waiting for a lock that another process holds."""

import time
from collections.abc import Callable

# How often a lock is tried, first and later, and when a wait for it is reported.
_FIRST_POLL_S = 0.001
_POLL_S = 0.05
_REPORT_AFTER_S = 2.0


def wait_for_lock(
    take: Callable[[], None],
    *,
    within_s: float,
    on_wait: Callable[[], None] = lambda: None,
    give_up: Callable[[], bool] = bool,
) -> None:
    """Wait for a lock; unlike a lock that blocks, this ends on a signal and at a time limit.

    Args:
        take: Takes it without waiting.
        within_s: How long to wait.
        on_wait: Called once after two seconds of waiting.
        give_up: Asked many times a second whether to wait no longer.

    Raises:
        BlockingIOError: If it was held all the time.
    """
    began_s = time.monotonic()
    reported, pause_s = False, _FIRST_POLL_S
    while True:
        try:
            return take()
        except BlockingIOError:
            waited_s = time.monotonic() - began_s
            if waited_s >= within_s or give_up():
                raise
        if waited_s >= _REPORT_AFTER_S and not reported:
            on_wait()
            reported = True
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _POLL_S)
