"""Notifications of runs."""

from dataclasses import dataclass
from datetime import datetime

from runner.model.jobs import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One command that was run on an event."""

    event: Event
    command: tuple[str, ...]
    started_at: datetime
    wall_s: float
    exit_code: int | None  # negative for a signal; None if it did not start, or runner was stopped before it finished
    message: str | None  # the error and the end of its stderr
