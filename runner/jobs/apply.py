"""Applies a job file: adds, changes and removes all its jobs in one transaction, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """A key of a job whose value changes.

    Attributes:
        key: As in the job file.
        old: The value in the job file before, defaults included; None for an absent key.
        new: The value now.
    """

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
        never_fires: Whether its new schedule never fires: it has none, or an instant in the past.
        without_schedule: Whether that is because it has none.
        warnings: New options without effect, a line for each.
    """

    name: str
    action: Action
    job_id: int | None
    changes: tuple[FieldChange, ...] = ()
    never_fires: bool = False
    without_schedule: bool = False
    warnings: tuple[str, ...] = ()


def apply_jobs(database: Database, file: JobsFile, *, prune: bool, dry_run: bool, now: datetime) -> list[Outcome]:
    """Apply a job file in one transaction.

    Args:
        database: The database with the jobs.
        file: The job file.
        prune: Whether to remove the jobs that it does not name; their history stays.
        dry_run: Whether to return the outcomes without changing anything.
        now: The instant from which new and changed schedules count.

    Returns:
        The outcomes of the jobs in the order of the file, then of the others.

    Raises:
        UsageError: If a root that is new to its job can't be scanned, or everything would be pruned by a file without
            a table of jobs; nothing is changed then.
        ScanError: If such a root does not answer in time; nothing is changed then.
    """
    if prune and not file.has_table:
        raise UsageError(f"{file.name}: it names no job, and --prune would remove them all; write [jobs] to do that")
    jobs = list_jobs(database)
    # Before the transaction, since a file system may be slow to answer.
    unusable = _unusable_roots(file, jobs)
    outcomes, revision = _decide(jobs, file, unusable, prune=prune, now=now)
    warnings = _warnings(revision, {wanted.spec.name: wanted.warnings for wanted in file.jobs})
    if not dry_run:

        def revise(jobs: Sequence[Job]) -> JobChanges:
            nonlocal outcomes, revision
            # Again, since the jobs may have changed before the transaction began.
            outcomes, revision = _decide(jobs, file, unusable, prune=prune, now=now)
            return revision

        numbers = {job.spec.name: job.job_id for job in update_jobs(database, revise, now)}
        outcomes = [replace(outcome, job_id=numbers.get(outcome.name, outcome.job_id)) for outcome in outcomes]
        for job in revision.removed:
            remove_cache(database, job)
    return [replace(outcome, warnings=warnings.get(outcome.name, ())) for outcome in outcomes]


def _decide(
    jobs: Sequence[Job], file: JobsFile, unusable: Mapping[str, str], *, prune: bool, now: datetime
) -> tuple[list[Outcome], JobChanges]:
    """Compare the jobs with a file and return the outcomes and the changes to make."""
    present = {job.spec.name: job for job in jobs}
    specs = [_merge(wanted, present.get(wanted.spec.name)) for wanted in file.jobs]
    outcomes = []
    for wanted, spec in zip(file.jobs, specs, strict=True):
        old = present.get(spec.name)
        if spec.name in unusable and (old is None or old.spec.root != spec.root):
            raise UsageError(unusable[spec.name])
        outcomes.append(_outcome(spec, old, now, anchored=wanted.anchored))
    named = {spec.name for spec in specs}
    others = [job for job in jobs if job.spec.name not in named]
    action = Action.REMOVED if prune else Action.LEFT
    outcomes += [Outcome(name=job.spec.name, action=action, job_id=job.job_id) for job in others]
    known = [(present[spec.name], spec) for spec in specs if spec.name in present]
    return outcomes, JobChanges(
        added=[spec for spec in specs if spec.name not in present],
        changed=[(job, spec) for job, spec in known if job.spec != spec],
        removed=others if prune else [],
    )


def _warnings(revision: JobChanges, from_file: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the warnings about new and changed jobs by name."""
    revised = [(spec, None) for spec in revision.added] + [(spec, job.spec) for job, spec in revision.changed]
    return {spec.name: (*from_file[spec.name], *find_warnings(spec, before)) for spec, before in revised}


def _unusable_roots(file: JobsFile, jobs: Sequence[Job]) -> Mapping[str, str]:
    """Return the errors of roots that are new to their jobs and can't be scanned, by the names of the jobs."""
    present = {job.spec.name: job.spec.root for job in jobs}
    new = [wanted.spec for wanted in file.jobs if present.get(wanted.spec.name) != wanted.spec.root]
    looked = look_at_roots([spec.root for spec in new], [spec.timeout_s for spec in new])
    return {
        spec.name: f"{file.name}: jobs.{write_key(spec.name)}.root: {error}"
        for spec, (_, error) in zip(new, looked, strict=True)
        if error is not None
    }


def _merge(wanted: Wanted, old: Job | None) -> JobSpec:
    """Return the wanted job, with its old anchor if at most the time zone or jitter of its schedule changes."""
    spec = wanted.spec
    before = old.spec.schedule if old is not None else None
    if spec.schedule is None or before is None or wanted.anchored:
        return spec
    if (spec.schedule.kind, spec.schedule.expression) != (before.kind, before.expression):
        return spec
    return replace(spec, schedule=replace(spec.schedule, anchor_at=before.anchor_at))


def _outcome(spec: JobSpec, old: Job | None, now: datetime, *, anchored: bool) -> Outcome:
    if old is not None and old.spec == spec:
        return Outcome(name=spec.name, action=Action.UNCHANGED, job_id=old.job_id)
    schedule = spec.schedule
    past = schedule and schedule.kind is ScheduleKind.AT and datetime.fromisoformat(schedule.expression) <= now
    changes: tuple[FieldChange, ...] = ()
    if old is not None:
        before, after = job_entries(old.spec), job_entries(spec)
        changes = tuple(
            FieldChange(key=key, old=before[key], new=after[key])
            for key in after
            # Another interval gets another anchor, which need not be listed unless the file names it.
            if before[key] != after[key] and (key != "anchor" or anchored or before["every"] == after["every"])
        )
    return Outcome(
        name=spec.name,
        action=Action.ADDED if old is None else Action.CHANGED,
        job_id=None if old is None else old.job_id,
        changes=changes,
        never_fires=(schedule is None or bool(past)) and (old is None or old.spec.schedule != schedule),
        without_schedule=schedule is None,
    )
