"""The runs, instants and paths that a user names in a question about the contents of a tree."""

import os
from dataclasses import dataclass
from datetime import datetime

from runner.history import runs
from runner.history.contents import has_directory
from runner.history.database import Reader
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Run, Status
from runner.model.units import format_count, format_instant
from runner.schedules.instants import parse_past

# The final statuses of runs without a snapshot.
_UNSAVED = (Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.INTERRUPTED)
_DELETED = "older runs were deleted, and the history begins with"


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeRange:
    """Two states of a tree to be compared, each that of a run."""

    before: Run | None  # None for the state before the first run
    first: Run  # the first run whose changes count
    after: Run
    notes: tuple[str, ...] = ()

    @property
    def positions(self) -> tuple[int, int]:
        """The positions of the two states."""
        # The position before a run is right even if earlier runs were pruned.
        return self.before.run_id if self.before is not None else self.first.run_id - 1, self.after.run_id


def find_state(database: Reader, job: Job, run: int | None, at: str | None, now: datetime) -> Run:
    """Find the saved run with a state of a tree: by its number, or at an instant as the user writes it."""
    if run is not None and at is not None:
        raise UsageError("a run and an instant exclude each other; give one of them")
    if run is not None:
        return _get_saved_run(database, job, run)
    instant = now if at is None else _parse_passed(at, now)
    saved = runs.find_last_saved(database, job, instant)
    if saved is not None:
        return saved
    first = runs.find_first_saved(database, job)
    if first is None:
        raise UsageError(f"no run of {job.spec.name!r} has been saved yet; start one with `runner run {job.word}`")
    if runs.has_earlier_files(database, first):
        raise UsageError(f"{_DELETED} {_describe(first)}; ask for it or for a later one")
    raise UsageError(f"{job.spec.name!r} has no saved run before {at}; its first is {_describe(first)}")


def find_time_range(
    database: Reader,
    job: Job,
    *,
    since: str | None,
    until: str | None,
    from_run: int | None,
    to_run: int | None,
    now: datetime,
) -> TimeRange:
    """Find the two states to be compared: by default those of the last saved run and the one before it."""
    start = parse_past(since, now=now) if since is not None else None
    if start is not None and until is not None and start > parse_past(until, now=now):
        raise UsageError("--since lies after --until; exchange them")
    after = find_state(database, job, to_run, until, now)
    notes: list[str] = []
    before: Run | None = None
    first = after
    if from_run is None and since is None:
        before = runs.find_saved_before(database, job, after)
    elif start is not None and from_run is None and start <= now and runs.find_last_saved(database, job, start) is None:
        # As in the run itself, everything that the first run found counts as added.
        first = runs.find_first_saved(database, job) or after
        notes.append(_describe_first(database, first))
    else:
        before = find_state(database, job, from_run, since, now)
    if before is not None and before.run_id > after.run_id:
        earlier = f"run {from_run}" if from_run is not None else f"--since {since}"
        later = f"run {to_run}" if to_run is not None else f"--until {until}"
        raise UsageError(f"{earlier} comes after {later}; exchange them")
    if to_run is None and until is None:
        notes += describe_later_failure(database, job, after)
    notes += describe_unreadable(after, "taken")
    if len(runs.list_selections_between(database, job, before or first, after)) > 1:
        notes.append("the job had other patterns or options in between, so not every change is one of the tree")
    return TimeRange(before=before, first=first, after=after, notes=tuple(notes))


def describe_unreadable(run: Run, how: str) -> list[str]:
    """Return a note about the paths that a run could not read, and how their files are shown; empty without any."""
    if not run.problems:
        return []
    what = f"run {run.run_id} could not read {format_count(run.problems, 'path')}, see `runner show {run.run_id}`"
    return [f"{what}; files there are {how} as they were last known"]


def describe_later_failure(database: Reader, job: Job, state: Run) -> list[str]:
    """Return a note if a later run of the job ended without a snapshot; empty otherwise."""
    later = runs.list_runs_before(database, job.job_id, None, statuses=_UNSAVED, limit=1, after=state.run_id)
    return [f"run {run.run_id} {run.status.said}, so this is what run {state.run_id} has left" for run in later]


def _describe(saved: Run) -> str:
    assert saved.finished_at is not None  # noqa: S101  it is saved
    return f"run {saved.run_id}, at {format_instant(saved.finished_at)}"


def _describe_first(database: Reader, first: Run) -> str:
    if runs.has_earlier_files(database, first):
        return f"{_DELETED} {_describe(first)}; the changes of that run are the first ones"
    return f"the history begins with {_describe(first)}; everything that it found counts as added"


def _get_saved_run(database: Reader, job: Job, run_id: int) -> Run:
    run = runs.get_run(database, run_id)
    if run.job_id != job.job_id:
        raise UsageError(f"run {run_id} is one of the job {run.job!r}; see `runner history {job.word}`")
    if run.files is None:
        raise UsageError(f"run {run_id} has saved nothing: it is {run.status}; see `runner history {job.word}`")
    return run


def find_directory(database: Reader, job: Job, path: str) -> bytes:
    """Find a directory, relative to the root or absolute, in which a file was ever found."""
    relative = relative_path(job, path)
    if relative and not has_directory(database, job.job_id, relative):
        what = f"nothing was ever found in a directory {path!r} of {job.spec.name!r}"
        raise UsageError(f"{what}; see `runner files {job.word} --by-folder`")
    return relative


def relative_path(job: Job, path: str) -> bytes:
    """Return a path relative to the job's root."""
    if not path:
        raise UsageError("the path is empty; give one relative to the root, or . for the root itself")
    root = os.path.normpath(job.spec.root)
    absolute = os.path.normpath(os.path.join(root, os.fsencode(path)))
    below = os.path.join(root, b"")
    if absolute == root:
        return b""
    if not absolute.startswith(below):
        raise UsageError(f"the path {path!r} lies outside {os.fsdecode(job.spec.root)!r}; give one below it")
    return absolute.removeprefix(below)


def parse_time_range(since: str | None, until: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Parse the two ends of a time range, either of which may be open; the first must not be in the future."""
    start = parse_past(since, now=now) if since is not None else None
    end = parse_past(until, now=now) if until is not None else None
    if start is not None and end is not None and start >= end:
        raise UsageError("--since lies after --until; exchange them")
    if since is not None:
        _parse_passed(since, now)
    return start, end


def _parse_passed(text: str, now: datetime) -> datetime:
    instant = parse_past(text, now=now)
    if instant > now:
        raise UsageError(f"the instant {text!r} lies in the future; give one that has passed")
    return instant
