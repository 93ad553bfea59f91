"""What a run leaves behind: its status, its executions, its environment and its findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


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
        """How it is said that a run has this status: it "has failed"."""
        return _SAID[self]


_SAID = {
    Status.RUNNING: "is going on",
    Status.SUCCEEDED: "has succeeded",
    Status.PARTIAL: "has finished in part",
    Status.FAILED: "has failed",
    Status.TIMED_OUT: "has timed out",
    Status.CANCELLED: "was cancelled",
    Status.INTERRUPTED: "was interrupted",
    Status.MISSED: "was missed",
    Status.SKIPPED: "was skipped",
}


class Cache(StrEnum):
    """Whether an execution had to read blocks from the device."""

    COLD = "cold"
    WARM = "warm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The process that carries out a run, told apart from a later one with the same number.

    Attributes:
        host: Name of the machine.
        boot: An identifier of the machine's present boot.
        pid: Process number.
        started_s: When the process started: seconds since the boot, or since the epoch where only that is known.
    """

    host: str
    boot: str
    pid: int
    started_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Everything outside the tree that a timing depends on; runs are compared only within one.

    Attributes:
        host: Name of the machine.
        system: Operating system and kernel release, ``Linux 6.1.0``.
        machine: Processor architecture, ``x86_64``.
        python: Implementation and version, ``CPython 3.11.7``.
        cpus: Processors this process may use.
        start_method: How pool workers are started: fork, forkserver or spawn.
        workers: Pool workers.
        filesystem: Type of the file system that holds the root, ``ext4``; empty if unknown.
        runner_version: The version of runner.
    """

    host: str
    system: str
    machine: str
    python: str
    cpus: int
    start_method: str
    workers: int
    filesystem: str
    runner_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """One strategy carried out and timed within a run.

    Attributes:
        strategy: Its name.
        position: 1 for the execution that went first in its run.
        status: succeeded, partial, failed, timed_out, cancelled or interrupted.
        workers: Processes that scanned; 1 for a strategy without a pool.
        start_method: How they were started; None without a pool.
        wall_s: Seconds from the root's path to the complete list, pool start-up included; None unless it finished.
        startup_s: Seconds of that until the pool could take work.
        user_s: User CPU seconds of the trial and all its workers, from the same start.
        system_s: System CPU seconds likewise.
        max_rss_bytes: Peak resident memory of the largest single process.
        cache: cold when blocks were read from the device.
        files: Entries found.
        directories: Folders read, the root included.
        entries: Everything listed in those folders, found or not.
        message: What went wrong, in one line; None when nothing did.
    """

    strategy: str
    position: int
    status: Status
    workers: int = 1
    start_method: str | None = None
    wall_s: float | None = None
    startup_s: float | None = None
    user_s: float | None = None
    system_s: float | None = None
    max_rss_bytes: int | None = None
    cache: Cache | None = None
    files: int | None = None
    directories: int | None = None
    entries: int | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A path that could not be read.

    Attributes:
        path: Relative to the root, bytes; empty for the root itself.
        errno: The operating system's error number.
        text: Its text.
    """

    path: bytes
    errno: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A path on which the strategies of one run disagree.

    Attributes:
        path: Relative to the root, bytes.
        found_by: Names of the strategies that found it.
    """

    path: bytes
    found_by: tuple[str, ...]


class ChangeKind(StrEnum):
    """What happened to a file between two runs."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One file that differs between two runs.

    Attributes:
        kind: What happened to it.
        path: Relative to the root, bytes.
        old_size_bytes: Its size before; None where not known.
        new_size_bytes: Its size after; None where not known.
    """

    kind: ChangeKind
    path: bytes
    old_size_bytes: int | None = None
    new_size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A found file as one run saw it.

    Attributes:
        path: Relative to the root, bytes.
        size_bytes: Its size; None when only names are tracked.
        mtime_ns: Its modification time, nanoseconds since the epoch; None likewise.
        first_run: Number of the run that first saw it so.
        unknown: Whether it could not be looked at, itself or its folder, so that this is what was known before.
    """

    path: bytes
    size_bytes: int | None
    mtime_ns: int | None
    first_run: int
    unknown: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One firing of a job, or a manual one; also the record of a firing that did not happen.

    Attributes:
        run_id: Its number, never used again.
        job_id: The job's number.
        job: The job's name.
        root: The folder scanned; absolute path, bytes.
        cause: Why it happened.
        status: How it ended.
        scheduled_at: The fire time; None for a manual run; the first of a gap for a missed one.
        started_at: When it started; None if it never did.
        finished_at: When it was saved; None while it runs.
        wall_s: Seconds from start to the end of the last execution.
        files: Entries found; None unless a snapshot was saved.
        directories: Folders read, the root included.
        added: Files that are there now and were not before.
        removed: Files that were there before and are not now.
        modified: Files whose size or modification time moved.
        problems: Paths that could not be read.
        differences: Paths on which the strategies disagree.
        missed: Fire times that this row stands for; 0 except for missed runs.
        attempt: 1, or more for a retry.
        lateness_s: Seconds from the fire time to the start; None for what no schedule fired, for retries, and where the
            clock was set back in between.
        message: What there is to say about it, in one line.
        executions: In the order of their positions.
        environment: Where it ran; None if it never did.
    """

    run_id: int
    job_id: int
    job: str
    root: bytes
    cause: Cause
    status: Status
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    wall_s: float | None = None
    files: int | None = None
    directories: int | None = None
    added: int | None = None
    removed: int | None = None
    modified: int | None = None
    problems: int = 0
    differences: int = 0
    missed: int = 0
    attempt: int = 1
    lateness_s: float | None = None
    message: str | None = None
    executions: tuple[Execution, ...] = ()
    environment: Environment | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """A run that is due, and has not begun.

    Attributes:
        firing_id: Its number.
        job_id: The job's number.
        due_at: The fire time.
        cause: schedule or catchup.
        attempt: 1, or more for a retry.
        not_before: When it may begin.
        retry_of: The number of the failed run of the previous attempt.
    """

    firing_id: int
    job_id: int
    due_at: datetime
    cause: Cause
    attempt: int
    not_before: datetime
    retry_of: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempts:
    """What there is to know of the attempts of firings besides the runs themselves.

    Attributes:
        most: By a job's number, how many attempts a firing of it has at most, as the job is now; jobs without retries
            and removed ones are left out.
        again_at: By a failed run's number, when its next attempt is due; past while that waits for a daemon.
    """

    most: Mapping[int, int] = field(default_factory=dict)
    again_at: Mapping[int, datetime] = field(default_factory=dict)
