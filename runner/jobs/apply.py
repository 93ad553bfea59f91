"""Applies a job file: adds, changes and removes all its jobs in one transaction, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from runner.history.database import Database
from runner.history.jobs import JobChanges, list_jobs, update_jobs
from runner.jobs.caches import remove_cache
from runner.jobs.file import JobsFile, Wanted
from runner.jobs.options import job_entries
from runner.jobs.warnings import find_warnings
from runner.measure.root_check import look_at_roots
from runner.model.errors import UsageError
from runner.model.jobs import Job, JobSpec, ScheduleKind
from runner.model.toml import write_key


class Action(StrEnum):
    """The action on a job."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    LEFT = "left"


class FieldChange(NamedTuple):
    """A key of the job file whose value changes; None for an absent key."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The action on a job, done or planned.

    Attributes:
        name: The name of the job.
        action: The action.
        job_id: The job's number; None for one that would be added.
        changes: The keys that change.
        never_fires: Whether its new schedule never fires: it is *without_schedule*, or its instant is past.
        without_schedule: Whether it has no schedule.
        warnings: New options without effect, a line for each.
    """

    name: str
    action: Action
    job_id: int | None = None
    changes: tuple[FieldChange, ...] = ()
    never_fires: bool = False
    without_schedule: bool = False
    warnings: tuple[str, ...] = ()


def apply_jobs(database: Database, file: JobsFile, *, prune: bool, dry_run: bool, now: datetime) -> list[Outcome]:
    """Apply a job file in one transaction, or find out what that would do.

    Args:
        database: The database with the jobs.
        file: The job file.
        prune: Whether to remove the jobs that it does not name; their history stays.
        dry_run: Whether to change nothing.
        now: The instant from which new and changed schedules count.

    Returns:
        The outcomes of the jobs in the order of the file, then of the others.

    Raises:
        UsageError: If a root that is new to its job can't be scanned, or a file without a table of jobs would prune.
        ScanError: If such a root does not answer in time.
    """
    if prune and not file.has_table:
        raise UsageError(f"{file.name}: it names no job, and --prune would remove them all; write [jobs] to do that")
    jobs, added = list_jobs(database), list[Job]()
    _check_roots(file, jobs)  # before the transaction, since a file system may be slow to answer
    outcomes = [_outcome(*pair, now) for pair in _merge_all(file, jobs)]
    if not dry_run:

        def decide(present: list[Job]) -> JobChanges:
            nonlocal jobs, outcomes
            jobs = present  # which may have changed before the transaction began
            outcomes = [_outcome(*pair, now) for pair in _merge_all(file, jobs)]
            pairs = [(spec, old) for _, spec, old in _merge_all(file, present)]
            return JobChanges(
                added=[spec for spec, old in pairs if old is None],
                changed=[(old, spec) for spec, old in pairs if old is not None and old.spec != spec],
                removed=_others(file, present) if prune else [],
            )

        added = update_jobs(database, decide, now)
    for job in _others(file, jobs):
        outcomes.append(Outcome(name=job.spec.name, action=Action.REMOVED if prune else Action.LEFT))
        if prune and not dry_run:
            remove_cache(database, job)
    numbers = {job.spec.name: job.job_id for job in (*jobs, *added)}
    return [replace(outcome, job_id=numbers.get(outcome.name)) for outcome in outcomes]


def _others(file: JobsFile, jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that the file does not name."""
    return [job for job in jobs if job.spec.name not in {wanted.spec.name for wanted in file.jobs}]


def _check_roots(file: JobsFile, jobs: Sequence[Job]) -> None:
    """Refuse a root that is new to its job and can't be scanned."""
    present = {job.spec.name: job.spec.root for job in jobs}
    new = [wanted.spec for wanted in file.jobs if present.get(wanted.spec.name) != wanted.spec.root]
    looked = look_at_roots([spec.root for spec in new], [spec.timeout_s for spec in new])
    for spec, (_, error) in zip(new, looked, strict=True):
        if error is not None:
            raise UsageError(f"{file.name}: jobs.{write_key(spec.name)}.root: {error}")


def _merge_all(file: JobsFile, jobs: Sequence[Job]) -> list[tuple[Wanted, JobSpec, Job | None]]:
    """Return the jobs of the file, each as it will be and as it is."""
    present = {job.spec.name: job for job in jobs}
    pairs = [(wanted, present.get(wanted.spec.name)) for wanted in file.jobs]
    return [(wanted, _merge(wanted, old), old) for wanted, old in pairs]


def _merge(wanted: Wanted, old: Job | None) -> JobSpec:
    """Return the wanted job, with its old anchor if at most the time zone or jitter of its schedule changes."""
    schedule, before = wanted.spec.schedule, old.spec.schedule if old else None
    if wanted.anchored or not schedule or not before:
        return wanted.spec
    if (schedule.kind, schedule.expression) != (before.kind, before.expression):
        return wanted.spec
    return replace(wanted.spec, schedule=replace(schedule, interval_origin=before.interval_origin))


def _outcome(wanted: Wanted, spec: JobSpec, old: Job | None, now: datetime) -> Outcome:
    if old is not None and old.spec == spec:
        return Outcome(name=spec.name, action=Action.UNCHANGED)
    schedule = spec.schedule
    past = schedule and schedule.kind is ScheduleKind.AT and datetime.fromisoformat(schedule.expression) <= now
    before = old.spec if old else None
    return Outcome(
        name=spec.name,
        action=Action.CHANGED if before else Action.ADDED,
        changes=tuple(_compare(before, spec, anchored=wanted.anchored)) if before else (),
        never_fires=(not schedule or bool(past)) and not (before and before.schedule == schedule),
        without_schedule=schedule is None,
        warnings=(*wanted.warnings, *find_warnings(spec, before)),
    )


def _compare(old: JobSpec, new: JobSpec, *, anchored: bool) -> Iterator[FieldChange]:
    before, after = job_entries(old), job_entries(new)
    for key, value in after.items():
        # Another interval gets another anchor, which need not be listed unless the file names it.
        if before[key] != value and (key != "anchor" or anchored or before["every"] == after["every"]):
            yield FieldChange(key, before[key], value)
