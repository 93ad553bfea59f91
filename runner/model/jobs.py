"""Jobs, their selections and their schedules."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Track(StrEnum):
    """What is kept of each found file."""

    NAMES = "names"
    STAT = "stat"


class Catchup(StrEnum):
    """How fire times missed without a daemon are caught up."""

    ONCE = "once"
    NONE = "none"
    ALL = "all"


class ScheduleKind(StrEnum):
    """The three kinds of triggers."""

    EVERY = "every"
    CRON = "cron"
    AT = "at"


class Event(StrEnum):
    """An event of a run that starts a notification."""

    FAILURE = "failure"
    RECOVERY = "recovery"
    CHANGE = "change"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Notify:
    """A command to run on an event.

    Attributes:
        event: The event.
        command: A program and its arguments, started without a shell.
    """

    event: Event
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which entries of a tree a scan finds, and what it keeps of them.

    Attributes:
        patterns: Shell patterns on entry names, as ``find -name`` reads them; at least one.
        excludes: Shell patterns on names or, with a slash, on paths relative to the root; what matches is pruned.
        ignore_case: Whether patterns and excludes match regardless of case.
        track: Whether size and modification time are kept.
        one_file_system: Whether directories on other file systems are left unread.
    """

    patterns: tuple[str, ...] = ("*.md",)
    excludes: tuple[str, ...] = ()
    ignore_case: bool = False
    track: Track = Track.STAT
    one_file_system: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a job fires.

    Attributes:
        kind: Which of the three kinds.
        expression: Normalised text: ``1h30m`` for every, five cron fields or ``@hourly`` for cron, an instant for at.
        timezone: IANA name or POSIX notation of the zone in which cron fields are read and fire times are shown.
        jitter_s: Each fire time is delayed by a fixed, pseudo-random part of this many seconds.
        anchor_at: The instant from which ``every`` counts its intervals; aware UTC.
    """

    kind: ScheduleKind
    expression: str
    timezone: str
    anchor_at: datetime
    jitter_s: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """The options of a job.

    Attributes:
        name: Unique among the jobs that are not removed.
        root: Absolute path of the directory scanned; bytes, because a path need not be text.
        selection: The files that a scan finds.
        strategies: Names of the strategies of each run, at least one.
        workers: Pool workers; None for one per usable CPU.
        timeout_s: Seconds after which an execution is stopped; None for never.
        full_every_s: Seconds after which an incremental scan reads every directory again.
        retries: The maximum number of retries of a failed run.
        retry_delay_s: Seconds between the end of a failed run and its next attempt.
        notify: The commands to run on events.
        schedule: When it fires; None for a job that runs manually only.
        catchup: How missed fire times are caught up.
        paused: Whether its schedule is paused.
    """

    name: str
    root: bytes
    selection: Selection = Selection()
    strategies: tuple[str, ...] = ("sequential", "pool")
    workers: int | None = None
    timeout_s: int | None = None
    full_every_s: int = 24 * 60 * 60
    retries: int = 0
    retry_delay_s: int = 60
    notify: tuple[Notify, ...] = ()
    schedule: Schedule | None = None
    catchup: Catchup = Catchup.ONCE
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job.

    Attributes:
        job_id: Its number, never used again.
        spec: Its options.
        created_at: When it was created; aware UTC.
        armed_at: Since when its schedule counts: creation, the last change of the schedule, or resumption.
        removed_at: When it was removed, if it was; its history stays.
    """

    job_id: int
    spec: JobSpec
    created_at: datetime
    armed_at: datetime
    removed_at: datetime | None = None
