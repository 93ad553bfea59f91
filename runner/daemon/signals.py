"""Signals on a thread of their own, and a forced end of the process."""

import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)

_MAX_SIGNALS = 64
# How long the last log line may take.
_LAST_LOG_S = 1


def listen(numbers: Iterable[int], on_signal: Callable[[int], float]) -> None:
    """Handle signals from now on; called on the main thread.

    Python runs handlers on that thread, and only after it has returned from a call such as one of the database driver;
    equal signals that arrive before that become one. It writes each number into the wakeup pipe at once. Child
    processes start with default handlers, and nothing is blocked.

    Args:
        numbers: The signals.
        on_signal: Called for each on a thread of its own, and must not wait for anything. Returns after how many
            seconds to end this process by force.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def handle() -> None:
        deadline_s = math.inf
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                if select.select([reading], [], [], left_s if left_s < math.inf else None)[0]:
                    for number in os.read(reading, _MAX_SIGNALS):
                        deadline_s = min(deadline_s, time.monotonic() + on_signal(number))
        finally:  # after any error: a daemon that handles no signals could not be stopped
            _end_process()

    threading.Thread(target=handle, name="signals", daemon=True).start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # see _end_process
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)  # without a handler no number would be written


def _end_process() -> None:
    # The reader of the log may be what this process waits for; the alarm ends it by the kernel.
    signal.alarm(_LAST_LOG_S)
    try:
        message = "ended by force: what it waited for did not answer; the next daemon records what was interrupted"
        _log.error(message, exc_info=sys.exception())
    finally:
        os._exit(1)
