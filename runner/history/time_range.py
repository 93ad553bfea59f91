"""What a person means by a run, an instant or a path, when asking what was in a tree."""

import os
from dataclasses import dataclass
from datetime import datetime

from runner.history.contents import has_folder
from runner.history.database import Reader
from runner.history.runs import get_run, list_runs_before
from runner.history.saved import (
    find_first_saved,
    find_last_saved,
    find_saved_before,
    list_selections_between,
    saw_before,
)
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Run, Status
from runner.model.units import format_count, format_instant
from runner.schedules.instants import parse_instant

# How a run may end that saves nothing.
_ENDED_IN_VAIN = (Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.INTERRUPTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Two states of a tree that are compared.

    Attributes:
        before: The run that left the earlier one; None for what was known right before the first run.
        first: The first run whose changes count; the later one is the last.
        after: The run that left the later one.
        notes: What a person has to know about the comparison.
    """

    before: Run | None
    first: Run
    after: Run
    notes: tuple[str, ...] = ()

    @property
    def positions(self) -> tuple[int, int]:
        """The two as positions."""
        # Whatever came before a run is what holds right before it, also where earlier runs have been forgotten.
        return self.before.run_id if self.before is not None else self.first.run_id - 1, self.after.run_id


def find_state(database: Reader, job: Job, run: int | None, at: str | None, now: datetime) -> Run:
    """Find the saved run after which a tree is asked for.

    Args:
        database: Where it is kept.
        job: Whose tree.
        run: A run's number.
        at: An instant as a person writes it; with neither, now.
        now: Now.

    Raises:
        UsageError: If there is none, both are given, or what is given can't be meant.
    """
    if run is not None and at is not None:
        raise UsageError("a run and an instant exclude each other; give one of them")
    if run is not None:
        return _own_run(database, job, run)
    instant = parse_instant(at, now=now) if at is not None else now
    if at is not None:
        _check_passed(at, instant, now)
    saved = find_last_saved(database, job, instant)
    if saved is None:
        first = find_first_saved(database, job)
        if first is None or first.finished_at is None:
            raise UsageError(
                f"no run of {job.spec.name!r} has been saved yet; start one with `runner run {job.job_id}`"
            )
        if saw_before(database, first):
            raise UsageError(f"{_what_is_left(first)}; ask for it or for a later one")
        raise UsageError(
            f"no run of {job.spec.name!r} had been saved by {at}; the first was run {first.run_id}, "
            f"at {format_instant(first.finished_at)}"
        )
    return saved


def _what_is_left(first: Run) -> str:
    assert first.finished_at is not None  # noqa: S101  it was saved
    begins = f"run {first.run_id}, at {format_instant(first.finished_at)}"
    return f"older runs were forgotten, and what is left begins with {begins}"


def find_span(
    database: Reader,
    job: Job,
    *,
    since: str | None,
    until: str | None,
    from_run: int | None,
    to_run: int | None,
    now: datetime,
) -> Span:
    """Find the two states that a person wants compared: by default the last saved run and the one before it.

    Raises:
        UsageError: If what is given can't be meant.
    """
    if since is not None and until is not None and parse_instant(since, now=now) > parse_instant(until, now=now):
        raise UsageError("--since lies after --until; exchange them")
    after = find_state(database, job, to_run, until, now)
    notes: list[str] = []
    before: Run | None = None
    first = after
    if from_run is None and since is None:
        before = find_saved_before(database, job, after)
    elif from_run is None and _lies_before_history(database, job, since, now):
        # What a run changed is the same however it is asked for: by the first one all that it found was added.
        first = find_first_saved(database, job) or after
        notes.append(_beginning(database, first, now))
    else:
        before = find_state(database, job, from_run, since, now)
    if before is not None and before.run_id > after.run_id:
        start = f"run {from_run}" if from_run is not None else f"--since {since}"
        end = f"run {to_run}" if to_run is not None else f"--until {until}"
        raise UsageError(f"{start} comes after {end}; exchange them")
    if to_run is None and until is None:
        notes += later_failure(database, job, after)
    notes += unread(after, "taken")
    if len(list_selections_between(database, job, before or first, after)) > 1:
        notes.append("the job looked for something else meanwhile, so that not every change is one of the tree")
    return Span(before=before, first=first, after=after, notes=tuple(notes))


def unread(state: Run, how: str) -> list[str]:
    """Say what a run could not read, and how the files there are given; empty if it could read all."""
    if not state.problems:
        return []
    what = f"run {state.run_id} could not read {format_count(state.problems, 'path')}, see `runner show {state.run_id}`"
    return [f"{what}; files there are {how} as they were last known"]


def later_failure(database: Reader, job: Job, state: Run) -> list[str]:
    """Say that what is known of a tree now is not from the last run, if that has saved nothing; empty otherwise."""
    for run in list_runs_before(database, job.job_id, None, statuses=_ENDED_IN_VAIN, limit=1):
        if run.run_id > state.run_id:
            return [f"run {run.run_id} {run.status.said}, so this is what run {state.run_id} has left"]
    return []


def _beginning(database: Reader, first: Run, now: datetime) -> str:
    if saw_before(database, first):
        return f"{_what_is_left(first)}; what that changed counts, but not with --from {first.run_id}"
    begins = f"the history begins with run {first.run_id}, at {format_instant(first.finished_at or now)}"
    return f"{begins}; what it found counts as added, but not with --from {first.run_id}"


def _lies_before_history(database: Reader, job: Job, since: str | None, now: datetime) -> bool:
    assert since is not None  # noqa: S101  asked only then
    instant = parse_instant(since, now=now)
    return instant <= now and find_last_saved(database, job, instant) is None


def _own_run(database: Reader, job: Job, run: int) -> Run:
    chosen = get_run(database, run)
    if chosen.job_id != job.job_id:
        raise UsageError(f"run {run} is one of the job {chosen.job!r}; see `runner history {job.job_id}`")
    if chosen.files is None:
        raise UsageError(f"run {run} has saved nothing: it is {chosen.status}; see `runner history {job.job_id}`")
    return chosen


def find_folder(database: Reader, job: Job, path: str) -> bytes:
    """Find a folder that a person names, relative to the root or absolute, in which something was once found.

    Raises:
        UsageError: If there never was one.
    """
    relative = relative_path(job, path)
    if relative and not has_folder(database, job.job_id, relative):
        raise UsageError(
            f"nothing was ever found in a folder {path!r} of {job.spec.name!r}; "
            f"see `runner files {job.job_id} --by-folder`"
        )
    return relative


def relative_path(job: Job, path: str) -> bytes:
    """Give the path that a person writes, relative to the job's root.

    Raises:
        UsageError: If it is empty or lies outside the root.
    """
    if not path:
        raise UsageError("the path is empty; give one relative to the root, or . for the root itself")
    root = job.spec.root
    absolute = os.path.normpath(os.path.join(root, os.fsencode(path)))
    if absolute == os.path.normpath(root):
        return b""
    if not absolute.startswith(os.path.join(os.path.normpath(root), b"")):
        raise UsageError(f"the path {path!r} lies outside {os.fsdecode(root)!r}; give one below it")
    return absolute.removeprefix(os.path.join(os.path.normpath(root), b""))


def parse_span(since: str | None, until: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Read the two ends of a span of time, of which either may be open.

    Raises:
        UsageError: If one can't be read, they are reversed, or the first is yet to come.
    """
    start = parse_instant(since, now=now) if since is not None else None
    end = parse_instant(until, now=now) if until is not None else None
    if start is not None and end is not None and start >= end:
        raise UsageError("--since lies after --until; exchange them")
    if since is not None and start is not None:
        _check_passed(since, start, now)
    return start, end


def _check_passed(text: str, instant: datetime, now: datetime) -> None:
    if instant > now:
        raise UsageError(f"the instant {text!r} lies in the future; give one that has passed")
