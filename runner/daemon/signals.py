"""Signals, heard whatever the main thread is in, and an end to a process that can't end in order."""

import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType

_log = logging.getLogger(__name__)

_MOST_BYTES = 64
# How long the last line may take.
_LAST_WORD_S = 1


def hear(numbers: Iterable[int], on_signal: Callable[[int], float]) -> None:
    """Hear signals from now on, for as long as this process lives; called on its main thread.

    Python carries out handlers on that thread, and not before it has come back from a call of the database, say; of
    equal signals that arrive meanwhile it tells one. Into a pipe, it writes the number of each at once. What is started
    meanwhile gets none of this: a new program begins with default handlers, and nothing is blocked.

    Args:
        numbers: The signals.
        on_signal: Told of each, on a thread of its own, on which nothing may be waited for; gives how many seconds this
            process may go on at most. Then it is ended as it is.
    """
    hears, tells = os.pipe()
    os.set_blocking(tells, False)

    def listen() -> None:
        gone_by_s = math.inf
        try:
            while (left_s := gone_by_s - time.monotonic()) > 0:
                if select.select([hears], [], [], left_s if left_s < math.inf else None)[0]:
                    for number in os.read(hears, _MOST_BYTES):
                        gone_by_s = min(gone_by_s, time.monotonic() + on_signal(number))
        finally:  # whatever it is that ends it: who hears nothing any more could not be stopped
            _end()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # see _end
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _note)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Stand for a handler: without one, no number would be written."""


def _end() -> None:
    # Who reads the log may be what this process waits for; the kernel's patience is not without end.
    signal.alarm(_LAST_WORD_S)
    try:
        message = "ended by force: what it waited for did not answer; the next daemon records what was interrupted"
        _log.error(message, exc_info=sys.exception())
    finally:
        os._exit(1)
