"""The first page: every job as a row."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import Any

from runner.history import jobs, notifications, recent, runs
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Run, Status
from runner.output import records
from runner.output.text import printable
from runner.schedules import fire_times
from runner.web.page import Asked, Page, listed
from runner.web.strips import BARS
from runner.web.summaries import summarize

_MOST_FAILURES, _FAILED_JOBS = 500, 8
# States of jobs besides the statuses of their last runs.
_NEVER, _PAUSED = "never", "paused"
_STATES = (*Status, _NEVER, _PAUSED)


def overview(asked: Asked) -> Page:
    """List the jobs with their health, last runs and next fire times, a page from the job ``after``."""
    text, state, tag = asked.text("name"), asked.choice("status", _STATES), asked.text("tag")
    every = jobs.list_jobs(asked.view)
    newest = recent.list_newest(asked.view)
    states = {job.job_id: _states(job, newest) for job in every}
    found = [
        job
        for job in every
        if (text is None or text.casefold() in printable(job.spec.name).casefold())
        and (state is None or state in states[job.job_id])
        and (tag is None or tag in job.spec.tags)
    ]
    shown, next_after = asked.choose_page(found)
    counts = Counter(one for of_job in states.values() for one in of_job)
    midnight = asked.now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    failures: dict[int, list[Run]] = {}
    for run in recent.list_since(asked.view, midnight, notifications.BAD, _MOST_FAILURES):
        failures.setdefault(run.job_id, []).append(run)
    values = {
        "rows": [(job, _next_firing(job, asked.now), newest.get(job.job_id)) for job in shown],
        "summaries": summarize(asked.view, shown, newest, asked.now),
        "describe": fire_times.describe,
        "bars": BARS,
        "counts": [(one, counts[one]) for one in _STATES if one in counts],
        "n_jobs": len(every),
        "n_found": len(found),
        "name": text,
        "tag": tag,
        "tags": sorted({one for job in every for one in job.spec.tags}),
        "state": state,
        "states": _STATES,
        "next_after": next_after,
        "failures": _sort_failures(failures, newest)[:_FAILED_JOBS],
        "n_failed": len(failures),
        "running": recent.list_running(asked.view),
    }
    return Page(template="overview.html", values=values, json=listed(_records(asked, found)))


def _records(asked: Asked, found: list[Job]) -> Iterator[dict[str, Any]]:
    last = runs.list_last_runs(asked.view)
    for job in found:
        yield records.job_record(job, _next_firing(job, asked.now), last.get(job.job_id))


def _states(job: Job, newest: dict[int, tuple[int, Status]]) -> tuple[str, ...]:
    last = newest[job.job_id][1] if job.job_id in newest else _NEVER
    return (last, _PAUSED) if job.spec.paused else (last,)


def _sort_failures(
    failures: dict[int, list[Run]], newest: dict[int, tuple[int, Status]]
) -> list[tuple[list[Run], bool]]:
    """List the failures of each job, and whether it has succeeded since; those that have not come first."""
    succeeded = {job for job, (_, status) in newest.items() if status == Status.SUCCEEDED}
    return sorted(((of_job, job in succeeded) for job, of_job in failures.items()), key=itemgetter(1))


def _next_firing(job: Job, now: datetime) -> datetime | None:
    """Return the next fire time of a job; None also if its time zone is unknown here."""
    if job.spec.schedule is None or job.spec.paused:
        return None
    try:
        return fire_times.next_fire_time(job.spec.schedule, job.job_id, now)
    except UsageError:
        return None
