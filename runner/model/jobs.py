"""Jobs, their selections and their schedules."""

import re
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
    """A command to run on an event: a program and its arguments, started without a shell."""

    event: Event
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which entries of a tree a scan finds, and what it keeps of them."""

    patterns: tuple[str, ...] = ("*.md",)  # shell patterns on entry names, as ``find -name`` reads them; at least one
    excludes: tuple[str, ...] = ()  # on names or, with a slash, on paths relative to the root; what matches is pruned
    ignore_case: bool = False
    track: Track = Track.STAT
    one_file_system: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a job fires."""

    kind: ScheduleKind
    expression: str  # normalised: ``1h30m`` for every, five cron fields or ``@hourly`` for cron, an instant for at
    timezone: str  # IANA name or POSIX notation; cron fields are read and fire times are shown in it
    interval_origin: datetime  # the instant from which ``every`` counts its intervals; aware UTC
    jitter_s: int = 0  # each fire time is delayed by a fixed, pseudo-random part of this


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """The options of a job; :mod:`runner.jobs.options` says what each does."""

    name: str  # unique among the jobs that are not removed
    root: bytes  # absolute path; bytes, because a path need not be text
    selection: Selection = Selection()
    strategies: tuple[str, ...] = ("sequential", "pool")  # at least one
    workers: int | None = None  # None for one per usable CPU
    timeout_s: int | None = None  # of an execution; None for never
    full_every_s: int = 24 * 60 * 60  # after that, an incremental scan reads every directory again
    retries: int = 0
    retry_delay_s: int = 60
    notify: tuple[Notify, ...] = ()
    tags: tuple[str, ...] = ()  # words by which jobs are grouped, each once
    schedule: Schedule | None = None  # None for a job that runs manually only
    catchup: Catchup = Catchup.ONCE
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job."""

    job_id: int  # never used again
    spec: JobSpec
    created_at: datetime
    schedule_start: datetime  # since when its schedule counts: creation, the last change of the schedule, or resumption
    removed_at: datetime | None = None  # its history stays

    @property
    def word(self) -> str:
        """What names it on a command line: its name if that needs no quotes, else its number."""
        is_plain = self.removed_at is None and re.fullmatch(r"[A-Za-z_][\w.-]*", self.spec.name, re.ASCII)
        return self.spec.name if is_plain else str(self.job_id)
