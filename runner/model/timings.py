"""Timings as trends take them: many, and light."""

from datetime import datetime
from typing import NamedTuple


class Timing(NamedTuple):
    """One finished execution."""

    run: int
    started_at: datetime  # of the run
    environment: int  # its number; timings of two are never mixed
    strategy: str
    position: int
    workers: int
    wall_s: float
    startup_s: float
    cpu_s: float  # user and system, all workers included
    max_rss_bytes: int
    entries: int
    files: int


class Counts(NamedTuple):
    """What one saved run found."""

    run: int
    started_at: datetime
    files: int
    added: int
    removed: int
    modified: int
