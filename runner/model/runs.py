"""What a run leaves behind: its status, its executions, its environment and its findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """Why a run happened."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    CATCHUP = "catchup"


class Status(StrEnum):
    """How a run, or one execution in it, ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    MISSED = "missed"
    SKIPPED = "skipped"

    @property
    def is_failure(self) -> bool:
        """Whether what ended so has failed by itself, and may be tried again."""
        return self in {Status.FAILED, Status.TIMED_OUT}

    @property
    def said(self) -> str:
        """How it is said that a run has this status: it "is partial", "has failed", "was cancelled"."""
        verb = {Status.RUNNING: "is", Status.PARTIAL: "is"}.get(self, "has" if self in _ENDED else "was")
        return f"{verb} {self.value.replace('_', ' ')}"


_ENDED = {Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT}


class Cache(StrEnum):
    """Whether an execution had to read blocks from the device."""

    COLD = "cold"
    WARM = "warm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The process that carries out a run, told apart from a later one with the same number."""

    host: str
    boot: str  # an identifier of the machine's present boot
    pid: int
    started_s: float  # seconds since the boot, or since the epoch where only that is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Everything outside the tree that a timing depends on; runs are compared only within one."""

    host: str
    system: str  # operating system and kernel release, ``Linux 6.1.0``
    machine: str  # processor architecture, ``x86_64``
    python: str  # implementation and version, ``CPython 3.11.7``
    cpus: int  # that this process may use
    start_method: str  # of pool workers: fork, forkserver or spawn
    workers: int
    filesystem: str  # its type, ``ext4``; empty if unknown
    runner_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """One strategy carried out and timed within a run, its fields in the order of JSON."""

    strategy: str
    position: int  # 1 for the execution that went first in its run
    workers: int = 1  # processes that scanned; 1 without a pool
    start_method: str | None = None  # None without a pool
    wall_s: float | None = None  # from the root's path to the complete list; None unless it finished
    startup_s: float | None = None  # part of that, until the pool could take work
    user_s: float | None = None  # CPU time of the trial process and all its workers, from the same start
    system_s: float | None = None
    max_rss_bytes: int | None = None  # of the largest single process
    cache: Cache | None = None
    files: int | None = None  # entries found
    directories: int | None = None  # that were read, the root included
    status: Status
    entries: int | None = None  # everything listed in those directories, found or not
    message: str | None = None  # what went wrong, in one line


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A path that could not be read."""

    path: bytes  # relative to the root; empty for the root
    errno: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A path on which the strategies of one run disagree."""

    path: bytes
    found_by: tuple[str, ...]  # strategies


class ChangeKind(StrEnum):
    """What happened to a file between two runs."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One file that differs between two runs; sizes are None where unknown."""

    kind: ChangeKind
    path: bytes  # relative to the root
    old_size_bytes: int | None = None
    new_size_bytes: int | None = None


class FoundFile(NamedTuple):
    """A found file as one run saw it; a tuple, because a listing may have millions."""

    path: bytes  # relative to the root
    size_bytes: int | None  # None when only names are tracked
    mtime_ns: int | None  # since the epoch; None likewise
    first_run: int  # that saw it so
    unknown: bool = False  # it or its directory could not be read, so that this is its last known state


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One firing of a job, or a manual run; also the record of a firing that did not happen."""

    run_id: int  # never used again
    job_id: int
    job: str
    root: bytes
    cause: Cause
    status: Status
    scheduled_at: datetime | None  # None for a manual run; the first of a gap for a missed one
    started_at: datetime | None  # None if it never did
    finished_at: datetime | None  # when it was saved
    wall_s: float | None = None  # from the start to the end of the last execution
    files: int | None = None  # None unless a snapshot was saved, as the following
    directories: int | None = None
    added: int | None = None
    removed: int | None = None
    modified: int | None = None
    problems: int = 0
    differences: int = 0
    missed: int = 0  # fire times that a missed run stands for
    attempt: int = 1  # more for a retry
    # From the fire time to the start; None without a schedule, for retries, and if the clock was set back in between.
    lateness_s: float | None = None
    message: str | None = None
    executions: tuple[Execution, ...] = ()  # in the order of their positions
    environment: Environment | None = None  # None if it never started


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """A run that is due, and has not begun."""

    firing_id: int
    job_id: int
    due_at: datetime  # the fire time
    cause: Cause
    attempt: int  # more than 1 for a retry
    not_before: datetime  # when it may begin
    retry_of: int | None  # the failed run of the previous attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempts:
    """What is known of the attempts of firings besides the runs themselves."""

    # By job, as it is now: the maximum number of attempts of a firing; only jobs with retries that are not removed.
    most: Mapping[int, int] = field(default_factory=dict)
    # By failed run: when its next attempt is due; past while that waits for a daemon.
    again_at: Mapping[int, datetime] = field(default_factory=dict)
