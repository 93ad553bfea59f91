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
    """One thing that is measured once in every round."""

    question: Question
    strategy: str
    workers: int  # 1 for sequential
    start_method: str | None  # None for sequential
    path: bytes  # the subtree, relative to the root; empty for the whole tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One execution of a calibration; times and sizes as in :class:`~runner.model.runs.Execution`."""

    condition: Condition
    round: int  # from 1
    position: int  # in its round, from 1
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
    """A calibration with its measurements, in the order in which they were made.

    Start methods and sizes were measured with the number of workers of the environment.
    """

    calibration_id: int
    root: bytes
    selection: Selection
    started_at: datetime
    finished_at: datetime | None  # None if it was stopped or is running
    environment: Environment
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSummary:
    """A calibration in a list."""

    calibration_id: int
    root: bytes
    started_at: datetime
    finished_at: datetime | None  # None if it was stopped or is running
    rounds: int
    running: bool
