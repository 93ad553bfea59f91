"""^C during a measurement in the foreground: the first one ends it in order."""

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from runner.model.runs import Status


class Interrupt:
    """Turns the first ^C into a wish to stop; a second one is Python's own."""

    def __init__(self) -> None:
        self.status: Status | None = None
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
