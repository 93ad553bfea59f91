"""Makes the jobs what a file wants them to be: all of them or, if anything in it can't be, none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from runner.history.database import Database
from runner.history.jobs import Revision, list_jobs, revise_jobs
from runner.jobs.caches import forget
from runner.jobs.file import JobsFile, Wanted
from runner.jobs.options import entries_of
from runner.jobs.warnings import find_warnings
from runner.measure.root_check import look_at_roots
from runner.model.errors import UsageError
from runner.model.jobs import Job, JobSpec, ScheduleKind


class Action(StrEnum):
    """What becomes of a job."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """A key that says something else.

    Attributes:
        key: As the file has it.
        old: What a file would have said before, defaults included; None for nothing.
        new: What it says now.
    """

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a job, or would.

    Attributes:
        name: The job's.
        fate: Which of the five.
        job_id: Its number; None for one that would be added.
        rewritten: What is changed about it.
        never_fires: Whether what is new about its schedule is that it will not fire by itself: it has none, or an
            instant that is past.
        by_hand: Whether that is so because it has none.
        doubts: What of what is new comes to nothing, a line for each.
    """

    name: str
    fate: Action
    job_id: int | None
    rewritten: tuple[FieldChange, ...] = ()
    never_fires: bool = False
    by_hand: bool = False
    doubts: tuple[str, ...] = ()


def apply_jobs(database: Database, file: JobsFile, *, prune: bool, dry_run: bool, now: datetime) -> list[Outcome]:
    """Add and change the jobs that a file names, in one transaction.

    A job that is so already is not touched, nor is a schedule that stays: it goes on counting as it did.

    Args:
        database: Where the jobs are.
        file: What is wanted.
        prune: Whether jobs that it does not name are removed; their history stays.
        dry_run: Whether only to tell what would be done.
        now: From when new and changed schedules count.

    Returns:
        What became of the jobs: those of the file in its order, then the others.

    Raises:
        UsageError: If a root that is new to its job can't be scanned, or everything would be pruned by a file that
            does not speak of jobs; nothing is changed then.
        ScanError: If such a root does not answer in time; nothing is changed then.
    """
    if prune and not file.is_about_jobs:
        raise UsageError(
            f"{file.document.name}: it names no job, and --prune would remove them all; write [jobs] if that is meant"
        )
    jobs = list_jobs(database)
    # Before the transaction, since a file system may let one wait.
    decide = partial(_decide, file=file, unusable=_unusable_roots(file, jobs), prune=prune, now=now)
    outcomes, revision = decide(jobs)
    doubts = _doubts(revision, {wanted.spec.name: wanted.warnings for wanted in file.jobs})
    if not dry_run:
        outcomes = _revise(database, decide, now)
    return [replace(outcome, doubts=doubts.get(outcome.name, ())) for outcome in outcomes]


_Decision = tuple[list[Outcome], Revision]


def _decide(
    jobs: Sequence[Job], *, file: JobsFile, unusable: Mapping[str, str], prune: bool, now: datetime
) -> _Decision:
    """Decide what becomes of the jobs that there are, and of those that a file names."""
    present = {job.spec.name: job for job in jobs}
    specs = [_merge(wanted, present.get(wanted.spec.name)) for wanted in file.jobs]
    outcomes = []
    for wanted, spec in zip(file.jobs, specs, strict=True):
        old = present.get(spec.name)
        if spec.name in unusable and (old is None or old.spec.root != spec.root):
            raise UsageError(f"{file.place(spec.name, 'root')}{unusable[spec.name]}")
        outcomes.append(_outcome(spec, old, now, anchored=wanted.anchored))
    named = {spec.name for spec in specs}
    others = [job for job in jobs if job.spec.name not in named]
    fate = Action.REMOVED if prune else Action.LEFT
    outcomes += [Outcome(name=job.spec.name, fate=fate, job_id=job.job_id) for job in others]
    known = [(present[spec.name], spec) for spec in specs if spec.name in present]
    return outcomes, Revision(
        added=[spec for spec in specs if spec.name not in present],
        changed=[(job, spec) for job, spec in known if job.spec != spec],
        removed=others if prune else [],
    )


def _revise(database: Database, decide: Callable[[Sequence[Job]], _Decision], now: datetime) -> list[Outcome]:
    """Do what is decided of the jobs as they are once nobody else can change them; the new ones get their numbers."""
    decisions: list[_Decision] = []

    def revise(jobs: Sequence[Job]) -> Revision:
        decisions.append(decide(jobs))
        return decisions[-1][1]

    numbers = {job.spec.name: job.job_id for job in revise_jobs(database, revise, now)}
    outcomes, revision = decisions[-1]
    for job in revision.removed:
        forget(database, job)
    return [replace(outcome, job_id=numbers.get(outcome.name, outcome.job_id)) for outcome in outcomes]


def _doubts(revision: Revision, warnings: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return what is to be known about new and changed jobs, by their names."""
    revised = [(spec, None) for spec in revision.added] + [(spec, job.spec) for job, spec in revision.changed]
    return {spec.name: (*warnings[spec.name], *find_warnings(spec, before)) for spec, before in revised}


def _unusable_roots(file: JobsFile, jobs: Sequence[Job]) -> Mapping[str, str]:
    """Return why roots that are new to their jobs can't be scanned, by the names of the jobs."""
    present = {job.spec.name: job.spec.root for job in jobs}
    new = [wanted.spec for wanted in file.jobs if present.get(wanted.spec.name) != wanted.spec.root]
    looked = look_at_roots([spec.root for spec in new], [spec.timeout_s for spec in new])
    return {spec.name: error for spec, (_, error) in zip(new, looked, strict=True) if error is not None}


def _merge(wanted: Wanted, old: Job | None) -> JobSpec:
    """Let a schedule that stays what it is, or only moves its zone or jitter, count from where it did."""
    spec = wanted.spec
    before = old.spec.schedule if old is not None else None
    if spec.schedule is None or before is None or wanted.anchored:
        return spec
    if (spec.schedule.kind, spec.schedule.expression) != (before.kind, before.expression):
        return spec
    return replace(spec, schedule=replace(spec.schedule, anchor_at=before.anchor_at))


def _outcome(spec: JobSpec, old: Job | None, now: datetime, *, anchored: bool) -> Outcome:
    if old is not None and old.spec == spec:
        return Outcome(name=spec.name, fate=Action.UNCHANGED, job_id=old.job_id)
    by_hand = spec.schedule is None
    never_fires = (by_hand or _is_past(spec, now)) and (old is None or old.spec.schedule != spec.schedule)
    if old is None:
        return Outcome(name=spec.name, fate=Action.ADDED, job_id=None, never_fires=never_fires, by_hand=by_hand)
    before, after = entries_of(old.spec), entries_of(spec)
    rewritten = tuple(
        FieldChange(key=key, old=before[key], new=after[key])
        for key in after
        # Another interval counts anew, which goes without saying unless the file says it.
        if before[key] != after[key] and (key != "anchor" or anchored or before["every"] == after["every"])
    )
    return Outcome(
        name=spec.name,
        fate=Action.CHANGED,
        job_id=old.job_id,
        rewritten=rewritten,
        never_fires=never_fires,
        by_hand=by_hand,
    )


def _is_past(spec: JobSpec, now: datetime) -> bool:
    schedule = spec.schedule
    if schedule is None or schedule.kind is not ScheduleKind.AT:
        return False
    return datetime.fromisoformat(schedule.expression) <= now
