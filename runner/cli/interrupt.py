"""^C during a measurement in the foreground: the first one ends it in order."""

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from runner.history.database import Database
    from runner.model.runs import Status

# How long the record of what was stopped may wait for another program then.
_WRITES_S = 2.0


class Interrupt:
    """Turns the first ^C into a wish to stop; a second one is Python's own.

    Args:
        database: What is still to be written to it waits no longer for others after that.
    """

    def __init__(self, database: "Database") -> None:
        self.status: Status | None = None
        self._database = database
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def __call__(self) -> "Status | None":
        """Give what is to be recorded as stopped; None as long as nothing is."""
        return self.status

    def _on_signal(self, number: int, _frame: "FrameType | None") -> None:
        from runner.model.runs import Status

        if self.status is not None:
            sys.exit(128 + number)
        self.status = Status.CANCELLED
        self._database.set_deadline(_WRITES_S)
