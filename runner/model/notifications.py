"""Notifications of runs."""

from dataclasses import dataclass
from datetime import datetime

from runner.model.jobs import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One command that was run on an event.

    Attributes:
        event: The event.
        command: The program and its arguments.
        started_at: When it was started; aware UTC.
        wall_s: Its duration in seconds.
        exit_code: Its exit code, negative for a signal; None if it could not be started or runner was stopped before
            it finished.
        message: The error and the end of its stderr; None if there is neither.
    """

    event: Event
    command: tuple[str, ...]
    started_at: datetime
    wall_s: float
    exit_code: int | None
    message: str | None
