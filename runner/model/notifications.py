"""Commands that were told what became of a run."""

from dataclasses import dataclass
from datetime import datetime

from runner.model.jobs import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One command that was told of an event.

    Attributes:
        event: What had happened.
        command: The program and its arguments.
        started_at: When it was told; aware UTC.
        wall_s: Seconds that it took.
        exit_code: How it ended, negative for a signal; None if it could not be started or runner was stopped meanwhile,
            so that nobody may have heard of the event.
        message: What went wrong, and the end of what it wrote to stderr; None if there is nothing to say.
    """

    event: Event
    command: tuple[str, ...]
    started_at: datetime
    wall_s: float
    exit_code: int | None
    message: str | None
