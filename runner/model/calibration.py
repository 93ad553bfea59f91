"""A calibration: what was measured, round by round, and where."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runner.model.jobs import Selection
from runner.model.runs import Cache, Environment


class Question(StrEnum):
    """The question that a measurement answers."""

    NOISE = "noise"  # sequential once more, to be compared with itself
    WORKERS = "workers"
    START_METHOD = "start_method"
    SIZE = "size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One thing that is measured once in every round.

    Attributes:
        question: What for.
        strategy: What is carried out.
        workers: Pool workers; 1 for sequential.
        start_method: How they are started; None for sequential.
        path: The subtree, relative to the root; empty for the whole tree.
    """

    question: Question
    strategy: str
    workers: int
    start_method: str | None
    path: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One execution of a calibration.

    Attributes:
        condition: What was measured.
        round: In which round, from 1.
        position: Where in its round it came, from 1.
        wall_s: Seconds from the root's path to the complete list.
        startup_s: Seconds of that until workers could begin.
        user_s: User CPU seconds, all workers included.
        system_s: System CPU seconds, workers included.
        max_rss_bytes: Peak resident memory of the largest process.
        cache: Whether blocks had to be read from the device.
        files: Entries found.
        directories: Directories read.
        entries: Entries listed.
    """

    condition: Condition
    round: int
    position: int
    wall_s: float
    startup_s: float
    user_s: float
    system_s: float
    max_rss_bytes: int
    cache: Cache
    files: int
    directories: int
    entries: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A calibration with all its measurements.

    Attributes:
        calibration_id: Its number.
        root: Absolute path of the tree.
        selection: What was looked for.
        started_at: When it began; aware UTC.
        finished_at: When it ended; None if it was stopped or is running.
        environment: Where it took place; ``workers`` is the number that start methods and sizes were measured with.
        measurements: In the order in which they were made.
    """

    calibration_id: int
    root: bytes
    selection: Selection
    started_at: datetime
    finished_at: datetime | None
    environment: Environment
    measurements: tuple[Measurement, ...]
