"""^C during a run in the foreground: the first one stops it in order."""

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from runner.history.database import Database
    from runner.model.runs import Status

# The longest wait for a locked database after ^C.
_WRITES_S = 2.0


class Interrupt:
    """Turns the first ^C into a request to stop; a second one exits at once.

    Args:
        database: Its pending writes wait only briefly for locks after the first ^C.
    """

    def __init__(self, database: "Database") -> None:
        self.status: Status | None = None
        self._database = database
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def __call__(self) -> "Status | None":
        """Return the status to record for the stopped run; None without a request to stop."""
        return self.status

    def _on_signal(self, number: int, _frame: "FrameType | None") -> None:
        from runner.model.runs import Status

        if self.status is not None:
            sys.exit(128 + number)
        self.status = Status.CANCELLED
        self._database.set_deadline(_WRITES_S)
