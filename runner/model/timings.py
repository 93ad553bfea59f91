"""Timings as trends take them: many, and light."""

from datetime import datetime
from typing import NamedTuple


class Timing(NamedTuple):
    """One finished execution.

    Attributes:
        run: Number of its run.
        started_at: When that began; aware UTC.
        environment: Number of the environment; timings of two are never mixed.
        strategy: Its name.
        position: 1 for the execution that went first in its run.
        workers: How many shared the work.
        wall_s: Wall time in seconds.
        startup_s: Seconds of that until work could begin.
        cpu_s: User and system CPU seconds, all workers included.
        max_rss_bytes: Peak resident memory of the largest process.
        entries: Entries listed.
        files: Entries found.
    """

    run: int
    started_at: datetime
    environment: int
    strategy: str
    position: int
    workers: int
    wall_s: float
    startup_s: float
    cpu_s: float
    max_rss_bytes: int
    entries: int
    files: int


class Counts(NamedTuple):
    """What one saved run found.

    Attributes:
        run: Its number.
        started_at: When it began; aware UTC.
        files: Found files.
        added: How many were new.
        removed: How many were gone.
        modified: How many had changed.
    """

    run: int
    started_at: datetime
    files: int
    added: int
    removed: int
    modified: int
