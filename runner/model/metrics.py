"""What a daemon measures of itself and its jobs, at one instant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.model.runs import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class JobMetrics:
    """What is known of a job. Counts begin with the daemon; what concerns the last run is taken from the history.

    Attributes:
        job: Its name.
        ended: How many of its runs ended, by how they did.
        missed: How many of its fire times were missed.
        skipped: How many were skipped.
        next_at: When it fires next; None when it does not.
        succeeded_at: When its last run that succeeded ended; None if none is known.
        wall_s: Seconds of its last run that saved what it found; None if none is known.
        strategy_wall_s: Seconds of that run's executions, by strategy.
        files: Entries found by it.
        directories: Directories read by it.
    """

    job: str
    ended: Mapping[Status, int]
    missed: int = 0
    skipped: int = 0
    next_at: datetime | None = None
    succeeded_at: datetime | None = None
    wall_s: float | None = None
    strategy_wall_s: Mapping[str, float]
    files: int | None = None
    directories: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How often values fell into each of several ranges.

    Attributes:
        bounds: The upper bounds of the ranges, themselves included; rising.
        counts: How many values fell into each; one more than bounds, for what lies above them all.
        total: The sum of all values.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What is known of a daemon.

    Attributes:
        up: Whether it fires; false once it has stopped.
        started_at: When it started.
        alive_at: The last heartbeat of its scheduler.
        version: Runner's.
        python: Python's.
        running: The number of running runs in its database, of any process.
        lateness_s: By how many seconds scheduled runs started after their fire times, since it started.
        jobs: The jobs that are not removed, in the order of their numbers.
    """

    up: bool
    started_at: datetime
    alive_at: datetime
    version: str
    python: str
    running: int
    lateness_s: Histogram
    jobs: Sequence[JobMetrics]
