"""The request to stop the daemon, and its deadlines."""

import signal
import time

from runner.history.database import Database
from runner.model.runs import Status

# How long a running run may continue after the first signal.
_GRACE_S = 5.0
# How long all pending writes together may wait for locks; after a second signal, how long.
_WRITE_S = 15.0
_IMMEDIATE_WRITE_S = 1.0
# After how long the process ends by force; service managers know the first. After a second signal, how long.
LIMIT_S = 45.0
_IMMEDIATE_LIMIT_S = 5.0


class Shutdown:
    """Whether the daemon stops: set on the signal thread, read by all threads.

    Attributes:
        reason: The signal's name.
        immediate: Whether running runs end without a grace period.
    """

    def __init__(self, database: Database) -> None:
        self.reason = ""
        self.immediate = False
        self._database = database
        self._requested_s: float | None = None

    def request(self, reason: str) -> None:
        """Request the stop, unless it is requested already."""
        if self._requested_s is None:
            self.reason = reason
            self._requested_s = time.monotonic()
            self._database.hurry(_WRITE_S)

    def request_by_signal(self, number: int) -> float:
        """Request the stop, or an immediate one on a second signal; return after how many seconds to end by force."""
        if not self.is_requested():
            self.request(signal.Signals(number).name)
            return LIMIT_S
        self.immediate = True
        self._database.hurry(_IMMEDIATE_WRITE_S)
        return _IMMEDIATE_LIMIT_S

    def is_requested(self) -> bool:
        """Return whether the daemon stops."""
        return self._requested_s is not None

    def run_status(self) -> Status | None:
        """Return the status with which a running run ends now; None while it may continue."""
        if self._requested_s is None or (not self.immediate and time.monotonic() - self._requested_s < _GRACE_S):
            return None
        return Status.INTERRUPTED
