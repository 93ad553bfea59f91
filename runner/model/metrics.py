"""What a daemon measures of itself and its jobs, at one instant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.model.runs import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class JobMetrics:
    """What is known of a job. Counts begin with the daemon; what concerns the last run is taken from the history."""

    job: str
    ended: Mapping[Status, int]
    missed: int = 0
    skipped: int = 0
    next_at: datetime | None = None
    succeeded_at: datetime | None = None
    # Of the last run that saved what it found.
    wall_s: float | None = None
    strategy_wall_s: Mapping[str, float]
    files: int | None = None
    directories: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How often values fell into each of several ranges."""

    bounds: Sequence[float]  # the upper bounds of the ranges, themselves included; rising
    counts: Sequence[int]  # one more than bounds, for the values above all
    total: float  # the sum of all values


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What is known of a daemon."""

    up: bool  # false once it has stopped
    started_at: datetime
    alive_at: datetime  # the last heartbeat of its scheduler
    version: str  # runner's
    python: str
    running: int  # running runs in its database, of any process
    lateness_s: Histogram  # of scheduled runs since it started
    jobs: Sequence[JobMetrics]
